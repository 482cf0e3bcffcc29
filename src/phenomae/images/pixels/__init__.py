"""Decodes single image files, on this machine or on object storage."""
