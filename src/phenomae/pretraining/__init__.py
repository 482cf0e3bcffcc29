"""Teaches an encoder. loop.py is the whole loop, on one page."""
