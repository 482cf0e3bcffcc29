"""Masked autoencoders for cell morphology, from raw plates to a benchmarked map of genes."""

__version__ = "0.1.0"
