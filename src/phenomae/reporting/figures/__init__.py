"""Figures of the report and of comparisons, in one style."""
