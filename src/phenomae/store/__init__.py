"""Keeps plates as OME-Zarr, so that a crop is one short read."""
