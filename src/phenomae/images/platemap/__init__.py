"""Reads plate maps: which perturbation each well received."""
