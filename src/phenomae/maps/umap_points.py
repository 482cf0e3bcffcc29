"""Points in the plane by UMAP (McInnes et al. 2018, arXiv 1802.03426), from exact neighbors."""

import sys
import warnings

import numpy as np
from jaxtyping import Float32, Float64, Int

from phenomae.blas import one_blas_thread
from phenomae.maps.nearest import compare_all
from phenomae.progress import is_quiet


def compute_points(
    unit: Float64[np.ndarray, "n d"], n_neighbors: int, min_dist: float, seed: int
) -> Float32[np.ndarray, "n 2"]:
    """Return a point for each profile of length 1; the same seed gives the same bits.

    `n_neighbors` counts the row itself, as umap-learn does, and is less than the number of rows.
    Rows that UMAP leaves out, because their neighbors are all opposite to them, are NaN.
    """
    from threadpoolctl import ThreadpoolController
    from umap import UMAP

    umap = UMAP(
        n_neighbors=n_neighbors,
        min_dist=min_dist,
        metric="cosine",
        random_state=seed,
        n_jobs=1,
        # A bar of the epochs on a terminal, if they take longer than a moment.
        tqdm_kwds={"disable": is_quiet() or not sys.stderr.isatty(), "delay": 2, "leave": False},
        # With neighbors given, umap-learn compiles no approximate search, which takes a minute.
        precomputed_knn=find_neighbors(unit, n_neighbors),
    )
    # One thread of BLAS, for the same bits on any number of cores. numba changes the number of
    # threads of OpenMP, which the end of the block restores for the other libraries. The limit that
    # is shared with other threads is the outer one: the inner one finds 1 and restores 1.
    with one_blas_thread(), ThreadpoolController().limit(limits=1), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that new rows cannot be placed among these
        return np.asarray(umap.fit_transform(unit.astype(np.float32)), dtype=np.float32)


def find_neighbors(
    unit: Float64[np.ndarray, "n d"], n_neighbors: int
) -> tuple[Int[np.ndarray, "n k"], Float64[np.ndarray, "n k"]]:
    """Return rows and cosine distances of the nearest rows of each row, as umap-learn takes them.

    Each row is its own first neighbor, and counts.
    """
    [(rows, cosines)] = compare_all(unit, n_neighbors - 1, (1.0,))
    # Rounding can leave a distance of -1e-16.
    distances = np.maximum(1 - cosines, 0)
    return np.insert(rows, 0, np.arange(len(unit)), axis=1), np.insert(distances, 0, 0, axis=1)
