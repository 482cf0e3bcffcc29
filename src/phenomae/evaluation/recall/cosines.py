"""Exact order statistics of all pairwise cosines of a map, without a matrix of all cosines.

The cosines are computed twice, tile by tile, so that memory does not grow with the number of pairs.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
from jaxtyping import Bool, Float64, Int, UInt8

from phenomae.evaluation.recall.tiles import (
    Cut,
    PairsInTiles,
    Strip,
    Tile,
    cut_cosines,
    each_strip,
    run_strips,
)

# Bins of the histogram that locates the order statistics. Sorting each tile instead takes 3.7 to
# 5.4 ns per cosine, binning 3 ns (docs/log.md, 2026-11-25).
_BINS = 1 << 18

Pairs = Int[np.ndarray, "pairs 2"]
Unit = Float64[np.ndarray, "g d"]


def scan(
    unit: Unit, ranks: Int[np.ndarray, " r"], pairs: Pairs
) -> tuple[Float64[np.ndarray, " r"], Float64[np.ndarray, " pairs"]]:
    """Return the cosines with the given ranks among all pairs of rows, and those of `pairs`.

    Every pair of different rows counts once; ranks start at 0.
    """
    return scan_strips(len(unit), partial(cut_cosines, unit), ranks, pairs)


def scan_strips(
    count: int, cut: Cut, ranks: Int[np.ndarray, " r"], pairs: Pairs
) -> tuple[Float64[np.ndarray, " r"], Float64[np.ndarray, " pairs"]]:
    """Do as `scan` for the values of `count` rows in the strips of tiles that `cut` returns.

    The first pass counts the values in fine bins, the second collects the values of the bins that
    contain a rank, so that the order statistics are exact. Pairs that have `tiles.NO_VALUE` are
    last in the order.
    """
    # Order statistics and cosines of `pairs` come from the same matrix products. A sum in another
    # order rounds differently, and a known pair that is itself an order statistic could then be on
    # the wrong side of the threshold.
    counts = np.zeros(_BINS, dtype=np.int64)
    for of_strip in run_strips(count, cut, _count, "recall, pass 1 of 2"):
        counts += of_strip
    bins = np.searchsorted(np.cumsum(counts), ranks, side="right")
    needed = np.zeros(_BINS, dtype=bool)
    needed[bins] = True
    known = PairsInTiles(pairs, count)

    def look(strip: Strip) -> list[tuple[np.ndarray, ...]]:
        return [
            (*_collect(first == second, tile, needed), known.take(first, second, tile))
            for first, second, tile in strip
        ]

    strips = run_strips(count, cut, look, "recall, pass 2 of 2")
    parts = [part for strip in strips for part in strip]
    collected, repeats, of_pairs = map(np.concatenate, zip(*parts, strict=True))
    cosines = np.empty(len(pairs))
    cosines[known.order] = of_pairs
    # The cosines of earlier bins were only counted: subtract their number from the ranks.
    skipped = np.cumsum(np.where(needed, 0, counts))[bins]
    ascending = np.argsort(collected)
    ends = np.cumsum(repeats[ascending])
    return collected[ascending][np.searchsorted(ends, ranks - skipped, side="right")], cosines


def pair_cosines(unit: Unit, pairs: Pairs) -> Float64[np.ndarray, " pairs"]:
    """Return the cosines of pairs of rows, bit for bit as in `scan`."""
    known = PairsInTiles(pairs, len(unit))

    def look(strip: Strip) -> list[np.ndarray]:
        return [known.take(first, second, tile) for first, second, tile in strip]

    parts = [part for strip in each_strip(unit, look, "cosines of pairs") for part in strip]
    cosines = np.empty(len(pairs))
    cosines[known.order] = np.concatenate(parts)
    return cosines


def mark_tails(unit: Unit, below: float, above: float) -> UInt8[np.ndarray, "g eighth_of_g"]:
    """Return one bit for every pair of rows: 1 if its cosine is < `below` or > `above`.

    The bit of a pair (i, j), i < j, is number j of row i, in the order of `numpy.packbits`.
    """
    return mark_several_tails(unit, [(below, above)])[0]


def mark_several_tails(
    unit: Unit, limits: Sequence[tuple[float, float]]
) -> list[UInt8[np.ndarray, "g eighth_of_g"]]:
    """Do as `mark_tails` for each of several limits (below, above), in one pass over all pairs."""
    # Packed bits of all pairs (36 MB for 17,000 rows, 1.6 GB for 113,000 rows), so that every
    # permutation looks its pairs up instead of computing cosines again.
    marks = [np.zeros((len(unit), -(-len(unit) // 8)), dtype=np.uint8) for _ in limits]

    def mark(strip: Strip) -> None:
        for first, second, tile in strip:
            for bits, (below, above) in zip(marks, limits, strict=True):
                packed = np.packbits((tile < below) | (tile > above), axis=1)
                rows, columns = packed.shape
                bits[first : first + rows, second // 8 : second // 8 + columns] = packed

    for _ in each_strip(unit, mark, "tails"):
        pass
    return marks


def mark_pairs(pairs: Pairs, count: int) -> UInt8[np.ndarray, "g eighth_of_g"]:
    """Return the bits of `mark_tails` with a 1 for each of `pairs` of `count` rows."""
    marks = np.zeros((count, -(-count // 8)), dtype=np.uint8)
    rows, columns = pairs.min(axis=1), pairs.max(axis=1)
    np.bitwise_or.at(marks, (rows, columns >> 3), (128 >> (columns & 7)).astype(np.uint8))
    return marks


def is_marked(
    marks: UInt8[np.ndarray, "g eighth_of_g"], pairs: Pairs
) -> Bool[np.ndarray, " pairs"]:
    """Return for each pair of rows whether its bit in the result of `mark_tails` is 1."""
    # numpy.packbits puts the first element into the highest bit of a byte.
    rows, columns = np.minimum(pairs[:, 0], pairs[:, 1]), np.maximum(pairs[:, 0], pairs[:, 1])
    return (marks[rows, columns >> 3] >> (7 - (columns & 7)).astype(np.uint8) & 1).astype(bool)


def count_marked(marks: UInt8[np.ndarray, "g eighth_of_g"]) -> int:
    """Return how many pairs of rows have the bit 1 in the result of `mark_tails`."""
    total = 0
    for row, bits in enumerate(marks):
        # A tile on the diagonal has its pairs twice, so only bits after the row's own count.
        first, skipped = divmod(row + 1, 8)
        ahead = bits[first:].copy()
        ahead[:1] &= 0xFF >> skipped
        total += int(np.bitwise_count(ahead).sum())
    return total


def _count(strip: Strip) -> Int[np.ndarray, " bins"]:
    counts = np.zeros(_BINS, dtype=np.int64)
    for first, second, tile in strip:
        counts += np.bincount(_bins(each_once(first == second, tile)), minlength=_BINS)
    return counts


def _collect(
    is_diagonal: bool, tile: Tile, needed: Bool[np.ndarray, " bins"]
) -> tuple[Float64[np.ndarray, " some"], Int[np.ndarray, " some"]]:
    """Return the distinct cosines of a tile in the needed bins, and how often each occurs."""
    # Distinct values only: on a map with one feature every cosine is 1 or -1, so the two bins that
    # contain them would collect all pairs.
    cosines = each_once(is_diagonal, tile)
    return np.unique(cosines[needed[_bins(cosines)]], return_counts=True)


def each_once(is_diagonal: bool, tile: Tile) -> Float64[np.ndarray, " some"]:
    """Return the values of a tile, those on the diagonal of the matrix with each pair once."""
    return tile[np.triu_indices(len(tile), k=1)] if is_diagonal else tile.ravel()


def _bins(cosines: Float64[np.ndarray, " some"]) -> Int[np.ndarray, " some"]:
    """Return the bin of each cosine; a larger cosine is never in an earlier bin."""
    # The scale is slightly below half the number of bins, because rounding gives cosines of
    # 1 + 1e-15, which would be beyond the last bin.
    scaled = cosines * (_BINS / 2 * (1 - 1e-9))
    scaled += _BINS / 2
    return scaled.astype(np.intp)
