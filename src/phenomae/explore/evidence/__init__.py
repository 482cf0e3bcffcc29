"""Reads results, runs and maps for the report."""
