"""Profiles without clusters that are otherwise like those of a map, for comparison.

The algorithm divides any graph, and can divide it the same way with every seed: of 120 rows of
noise, most clusters came back. What it finds is therefore compared with what it finds in one normal
distribution of the same mean and covariance.
"""

import numpy as np
from jaxtyping import Float64

from phenomae.blas import one_blas_thread


def draw_normal(
    profiles: Float64[np.ndarray, "g d"], seed: tuple[int, ...]
) -> Float64[np.ndarray, "g d"]:
    """Return as many profiles from a normal distribution of the same mean and covariance."""
    rng = np.random.default_rng(seed)
    mean = profiles.mean(axis=0)
    with one_blas_thread():  # for the same bits on any number of cores
        centered = profiles - mean
        rows, width = profiles.shape
        if width <= rows:
            values, axes = np.linalg.eigh(centered.T @ centered / rows)
            spread = axes * np.sqrt(np.maximum(values, 0))  # rounding can leave -1e-17
            drawn = rng.normal(size=(rows, width)) @ spread.T
        else:  # a weighted sum of all rows has their covariance
            drawn = rng.normal(size=(rows, rows)) @ centered / np.sqrt(rows)
    return mean + drawn
