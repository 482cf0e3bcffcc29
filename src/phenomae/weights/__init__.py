"""Trained networks in and out of files: safetensors, warm starts, public checkpoints, the hub."""
