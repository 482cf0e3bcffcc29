"""Cosines of all pairs of rows, a block of rows at a time, so that they never are all in memory."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from jaxtyping import Float64

from phenomae.blas import one_blas_thread
from phenomae.cores import available_cores

Result = TypeVar("Result")
Unit = Float64[np.ndarray, "n d"]
"""Profiles of length 1."""
Cosines = Float64[np.ndarray, "b n"]
_NUMBERS = 1 << 22  # of a block: 32 MB
_ITSELF = -2.0  # less than any cosine


def over_blocks(unit: Unit, work: Callable[[int, Cosines], Result]) -> list[Result]:
    """Return what `work` returns for each block of rows, in their order.

    It gets the first row of the block, and the cosines of its rows to all rows; that of a row and
    itself is -2. Blocks are computed by several threads, each product by one, so that the number of
    cores does not change a bit.
    """
    rows = max(1, _NUMBERS // len(unit))

    def compute(first: int) -> Result:
        cosines = unit[first : first + rows] @ unit.T
        own = np.arange(len(cosines))
        cosines[own, first + own] = _ITSELF
        return work(first, cosines)

    with one_blas_thread(), ThreadPoolExecutor(available_cores()) as pool:
        return list(pool.map(compute, range(0, len(unit), rows)))
