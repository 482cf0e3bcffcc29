"""Reads crops of stores as tensors: the training stream, and the grid that covers a field."""
