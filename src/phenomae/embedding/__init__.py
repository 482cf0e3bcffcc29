"""Computes one embedding per well, with a trained network or without learning."""
