"""Reads and checks the results, runs and maps that a report shows."""
