"""What the training loop calls after every step: meters, checkpoints, logs, trackers."""
