"""Estimates the cost of a training: passes over the data, FLOPs, memory, disk and hours."""
