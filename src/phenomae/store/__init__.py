"""Plates as sharded OME-Zarr, so that reading a crop is one short read."""
