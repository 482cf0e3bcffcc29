"""Stores of plates as sharded OME-Zarr, from which crops are read without the rest of a field."""
