"""Points in the plane by UMAP (McInnes et al. 2018, arXiv 1802.03426), from exact neighbors."""

import warnings

import numpy as np
from jaxtyping import Float32, Float64

from phenomae.blas import one_blas_thread
from phenomae.maps.cosine_blocks import nearest_rows


def compute_points(
    unit: Float64[np.ndarray, "n d"], n_neighbors: int, min_dist: float, seed: int
) -> Float32[np.ndarray, "n 2"]:
    """Return a point for each profile of length 1; the same seed gives the same bits.

    `n_neighbors` counts the row itself, as umap-learn does, and is less than the number of rows.
    Rows that UMAP leaves out, because their neighbors are all opposite to them, are NaN.
    """
    from threadpoolctl import ThreadpoolController
    from umap import UMAP

    rows, distances = nearest_rows(unit, n_neighbors - 1)
    own = np.arange(len(unit))
    # With neighbors given, umap-learn compiles no approximate search, which takes a minute.
    neighbors = (np.column_stack([own, rows]), np.column_stack([np.zeros(len(unit)), distances]))
    umap = UMAP(
        n_neighbors=n_neighbors,
        min_dist=min_dist,
        metric="cosine",
        random_state=seed,
        n_jobs=1,
        precomputed_knn=neighbors,
    )
    # One thread of BLAS, for the same bits on any number of cores. numba changes the number of
    # threads of OpenMP, which the end of the block restores for the other libraries. The limit that
    # is shared with other threads is the outer one: the inner one finds 1 and restores 1.
    with one_blas_thread(), ThreadpoolController().limit(limits=1), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that new rows cannot be placed among these
        return np.asarray(umap.fit_transform(unit.astype(np.float32)), dtype=np.float32)
