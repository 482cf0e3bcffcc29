"""Reads plates as microscopes and public data sets leave them, and the plate maps beside them."""
