"""Crops of stored plates as tensors, in an order that is fixed and survives stops."""
