"""All cosines of a map, block by block: exact order statistics without holding them at once."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Float64, Int

_CELLS = 1 << 22  # cosines in one block: 32 MB
_BINS = 1 << 20  # of the histogram that finds the neighbourhood of an order statistic


def unit_rows(features: Float[np.ndarray, "g d"]) -> Float64[np.ndarray, "g d"]:
    """Return the rows scaled to length 1, whose inner products are cosines."""
    rows = features.astype(np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def order_statistics(
    unit: Float64[np.ndarray, "g d"], ranks: Int[np.ndarray, " r"]
) -> Float64[np.ndarray, " r"]:
    """Return the cosines of all pairs (each once, none of a row with itself) at ranks 0, 1, ...

    Exact: a first pass counts the cosines in fine bins, a second one sorts the bins that hold a
    rank. Memory is one block and those bins.
    """
    counts = np.zeros(_BINS, dtype=np.int64)
    for cosines in _each_pair_once(unit):
        counts += np.bincount(_bins(cosines), minlength=_BINS)
    ends = np.cumsum(counts)
    bins = np.searchsorted(ends, ranks, side="right")
    wanted = np.zeros(_BINS, dtype=bool)
    wanted[bins] = True
    inside = [cosines[wanted[_bins(cosines)]] for cosines in _each_pair_once(unit)]
    held = np.sort(np.concatenate([np.empty(0), *inside]))
    # A rank's place among the held ones: take off the pairs of earlier bins that are not held.
    passed_over = np.cumsum(np.where(wanted, 0, counts))[bins]
    return held[ranks - passed_over]


def pair_cosines(
    unit: Float64[np.ndarray, "g d"], pairs: Int[np.ndarray, "pairs 2"]
) -> Float64[np.ndarray, " pairs"]:
    """Return the cosines of the pairs of rows, the same to the last bit as in `order_statistics`.

    A matrix product rounds otherwise than an inner product of two rows does, and a known pair that
    is itself an order statistic would fall on the wrong side of it.
    """
    rows, columns = pairs.min(axis=1), pairs.max(axis=1)
    order = np.argsort(rows, kind="stable")
    sorted_rows = rows[order]
    cosines = np.empty(len(pairs))
    for start, block in _blocks(unit):
        first, last = np.searchsorted(sorted_rows, [start, start + len(block)])
        here = order[first:last]
        cosines[here] = block[rows[here] - start, columns[here] - start]
    return cosines


def _blocks(
    unit: Float64[np.ndarray, "g d"],
) -> Iterator[tuple[int, Float64[np.ndarray, "rows columns"]]]:
    """Yield a first row and the cosines of some rows, from it on, with all rows from it on."""
    start = 0
    while start < len(unit):
        stop = min(len(unit), start + max(1, _CELLS // (len(unit) - start)))
        yield start, unit[start:stop] @ unit[start:].T
        start = stop


def _each_pair_once(unit: Float64[np.ndarray, "g d"]) -> Iterator[Float64[np.ndarray, " some"]]:
    for _, block in _blocks(unit):
        rows = len(block)
        yield block[:, :rows][np.triu_indices(rows, k=1)]
        yield block[:, rows:].ravel()


def _bins(cosines: Float64[np.ndarray, " some"]) -> Int[np.ndarray, " some"]:
    """Return the bin of each cosine; a larger cosine is never in an earlier bin."""
    return np.clip((cosines + 1.0) * (_BINS / 2), 0, _BINS - 1).astype(np.int64)
