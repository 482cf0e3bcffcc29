"""Trains networks in a run folder; loop.py is the whole training loop, on one page."""
