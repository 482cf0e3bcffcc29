"""Eigenvalues and singular values, computed on one thread.

Corrections compute many small decompositions, which several threads do not speed up. If other
processes occupy the cores, BLAS threads wait for each other ten times as long as one decomposition
takes.
"""

import numpy as np
from jaxtyping import Float64

from phenomae.blas import one_blas_thread


def eigenvalues(
    matrix: Float64[np.ndarray, "d d"],
) -> tuple[Float64[np.ndarray, " d"], Float64[np.ndarray, "d d"]]:
    """Return ascending eigenvalues of a symmetric matrix, and eigenvectors as columns."""
    with one_blas_thread():
        return np.linalg.eigh(matrix)


def singular_values(
    matrix: Float64[np.ndarray, "n d"],
) -> tuple[Float64[np.ndarray, " k"], Float64[np.ndarray, "d k"]]:
    """Return descending singular values, and right singular vectors as columns."""
    with one_blas_thread():
        _, singular, axes = np.linalg.svd(matrix, full_matrices=False)
    return singular, axes.T
