"""Turns stored plates into tensors, in a fixed and resumable order."""
