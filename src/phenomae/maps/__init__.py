"""Aggregates wells to a map: one consensus profile per gene, compound, dose or perturbation.

This package must not use gene annotations, because `benchmark` evaluates maps against annotations.
"""
