"""Questions to all cosines of a map: exact order statistics, single pairs, who is in the tails."""

import numpy as np
from jaxtyping import Bool, Float64, Int, UInt8

from phenomae.evaluation.recall.tiles import PairsInTiles, Strip, Tile, each_strip

_BINS = 1 << 18  # of the histogram that finds the neighbourhood of an order statistic

Pairs = Int[np.ndarray, "pairs 2"]
Unit = Float64[np.ndarray, "g d"]


def scan(
    unit: Unit, ranks: Int[np.ndarray, " r"], pairs: Pairs
) -> tuple[Float64[np.ndarray, " r"], Float64[np.ndarray, " pairs"]]:
    """Return the cosines at ranks 0, 1, ... among those of all pairs, and those of `pairs`.

    All pairs: each once, none of a row with itself. Exact: a first pass counts the cosines in fine
    bins, a second one holds those of the bins with a rank in them. Both answers are read from the
    same products, as a sum in another order rounds otherwise, and a known pair that is itself an
    order statistic would fall on the wrong side of it.
    """
    counts = np.zeros(_BINS, dtype=np.int64)
    for of_strip in each_strip(unit, _count, "recall, pass 1 of 2"):
        counts += of_strip
    bins = np.searchsorted(np.cumsum(counts), ranks, side="right")
    wanted = np.zeros(_BINS, dtype=bool)
    wanted[bins] = True
    known = PairsInTiles(pairs, len(unit))

    def look(strip: Strip) -> list[tuple[np.ndarray, ...]]:
        return [
            (*_hold(first == second, tile, wanted), known.take(first, second, tile))
            for first, second, tile in strip
        ]

    seen = [parts for strip in each_strip(unit, look, "recall, pass 2 of 2") for parts in strip]
    held, repeats, of_pairs = map(np.concatenate, zip(*seen, strict=True))
    cosines = np.empty(len(pairs))
    cosines[known.order] = of_pairs
    # A rank's place among the held ones: take off the pairs of earlier bins that are not held.
    passed_over = np.cumsum(np.where(wanted, 0, counts))[bins]
    ascending = np.argsort(held)
    ends = np.cumsum(repeats[ascending])
    return held[ascending][np.searchsorted(ends, ranks - passed_over, side="right")], cosines


def pair_cosines(unit: Unit, pairs: Pairs) -> Float64[np.ndarray, " pairs"]:
    """Return the cosines of the pairs of rows, the same to the last bit as in `scan`."""
    known = PairsInTiles(pairs, len(unit))

    def look(strip: Strip) -> list[np.ndarray]:
        return [known.take(first, second, tile) for first, second, tile in strip]

    parts = [part for strip in each_strip(unit, look, "cosines of pairs") for part in strip]
    cosines = np.empty(len(pairs))
    cosines[known.order] = np.concatenate(parts)
    return cosines


def mark_tails(unit: Unit, below: float, above: float) -> UInt8[np.ndarray, "g eighth_of_g"]:
    """Return a bit for every pair of rows: 1 where its cosine is below one or above the other.

    Of a pair (i, j), i < j, the bit is number j of row i, as `numpy.packbits` orders them. A map of
    17,000 rows takes 36 MB so, one of 113,000 takes 1.6 GB.
    """
    marks = np.zeros((len(unit), -(-len(unit) // 8)), dtype=np.uint8)

    def mark(strip: Strip) -> None:
        for first, second, tile in strip:
            packed = np.packbits((tile < below) | (tile > above), axis=1)
            rows, columns = packed.shape
            marks[first : first + rows, second // 8 : second // 8 + columns] = packed

    for _ in each_strip(unit, mark, "tails"):
        pass
    return marks


def is_marked(
    marks: UInt8[np.ndarray, "g eighth_of_g"], pairs: Pairs
) -> Bool[np.ndarray, " pairs"]:
    """Say which pairs of rows `mark_tails` found in the tails."""
    rows, columns = np.minimum(pairs[:, 0], pairs[:, 1]), np.maximum(pairs[:, 0], pairs[:, 1])
    return (marks[rows, columns >> 3] >> (7 - (columns & 7)).astype(np.uint8) & 1).astype(bool)


def _count(strip: Strip) -> Int[np.ndarray, " bins"]:
    counts = np.zeros(_BINS, dtype=np.int64)
    for first, second, tile in strip:
        counts += np.bincount(_bins(_each_once(first == second, tile)), minlength=_BINS)
    return counts


def _hold(
    is_diagonal: bool, tile: Tile, wanted: Bool[np.ndarray, " bins"]
) -> tuple[Float64[np.ndarray, " held"], Int[np.ndarray, " held"]]:
    """Return the cosines of a tile that lie in the wanted bins, and how often each is there.

    Repeats are counted, not held: of a map with one feature, all cosines are 1 or -1.
    """
    cosines = _each_once(is_diagonal, tile)
    return np.unique(cosines[wanted[_bins(cosines)]], return_counts=True)


def _each_once(is_diagonal: bool, tile: Tile) -> Float64[np.ndarray, " some"]:
    return tile[np.triu_indices(len(tile), k=1)] if is_diagonal else tile.ravel()


def _bins(cosines: Float64[np.ndarray, " some"]) -> Int[np.ndarray, " some"]:
    """Return the bin of each cosine; a larger cosine is never in an earlier bin."""
    # A hair less than half of the bins a unit, as rounding makes cosines of 1 + 1e-15.
    scaled = cosines * (_BINS / 2 * (1 - 1e-9))
    scaled += _BINS / 2
    return scaled.astype(np.intp)
