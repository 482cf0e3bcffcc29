"""Reads raw plates in the layouts of microscopes and public data sets, and their plate maps."""
