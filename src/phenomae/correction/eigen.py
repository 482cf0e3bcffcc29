"""Eigenvalues and singular values, reckoned on one thread."""

from functools import cache

import numpy as np
from jaxtyping import Float64
from threadpoolctl import ThreadpoolController


def eigenvalues(
    matrix: Float64[np.ndarray, "d d"],
) -> tuple[Float64[np.ndarray, " d"], Float64[np.ndarray, "d d"]]:
    """Return eigenvalues of a symmetric matrix, the smallest first, and eigenvectors as columns."""
    with _blas().limit(limits=1, user_api="blas"):
        return np.linalg.eigh(matrix)


def singular_values(
    matrix: Float64[np.ndarray, "n d"],
) -> tuple[Float64[np.ndarray, " k"], Float64[np.ndarray, "d k"]]:
    """Return singular values, the largest first, and right singular vectors as columns."""
    with _blas().limit(limits=1, user_api="blas"):
        _, singular, axes = np.linalg.svd(matrix, full_matrices=False)
    return singular, axes.T


@cache
def _blas() -> ThreadpoolController:
    # These are many small products in a row, so that threads gain nothing, and where other
    # processes work beside this one they wait for each other ten times as long as one takes.
    return ThreadpoolController()
