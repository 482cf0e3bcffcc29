"""Decoding of single image files, here or on object storage."""
