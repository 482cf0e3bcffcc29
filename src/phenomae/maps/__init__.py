"""Aggregates wells to a map: one consensus profile per gene, compound, dose or perturbation.

This room must not use annotations of genes: `benchmark` evaluates maps that never saw them.
"""
