"""Reads plates as microscopes and public data sets leave them."""
