"""Plate maps: which perturbation each well received."""
