"""Simulates an image-based screen in which the related pairs of genes are known."""
