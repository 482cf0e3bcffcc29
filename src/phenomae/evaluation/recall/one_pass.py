"""Recall at a few percentiles from one pass over all pairs, for maps that stand beside the map.

A sample of the rows gives a bracket around each threshold; the pass counts the values below the
brackets and collects those in them, so that thresholds are exact order statistics. Where a bracket
misses its threshold, or holds too many equal values, the two passes of `cosines.scan` do it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
from jaxtyping import Bool, Float64, Int

from phenomae.evaluation.recall.cosines import Pairs, Unit, each_once, scan_strips
from phenomae.evaluation.recall.recall import Percentiles, Tails, tail_ranks, tails_at
from phenomae.evaluation.recall.tiles import (
    NO_VALUE,
    PairsInTiles,
    Strip,
    cut_cosines,
    run_strips,
)

_SAMPLE = 2048  # rows of the sample: 2 million pairs, whose matrix product is 1 % of the pass
_ERRORS = 6  # standard errors of a rank in the sample on both sides of a bracket
_COLLECTED = 1 << 24  # values in the brackets that are in memory at most: 128 MB
Brackets = Float64[np.ndarray, "r 2"]


class PairValues(Protocol):
    """A value for every pair of rows, as tiles of a symmetric matrix that is never in memory."""

    def __len__(self) -> int:
        """Return the number of rows."""
        ...

    def cut(self, first: int) -> Strip:
        """Return the strip of tiles that starts at a row; pairs without a value have NO_VALUE."""
        ...

    def take(self, rows: Int[np.ndarray, " some"]) -> "PairValues":
        """Return the values of the pairs of some rows."""
        ...


@dataclass(frozen=True)
class Cosines:
    """The inner products of the rows of a matrix: the cosines, if the rows have length 1."""

    unit: Unit

    def __len__(self) -> int:
        return len(self.unit)

    def cut(self, first: int) -> Strip:
        """Return the strip of tiles that starts at a row."""
        return cut_cosines(self.unit, first)

    def take(self, rows: Int[np.ndarray, " some"]) -> "Cosines":
        """Return the inner products of some rows."""
        return Cosines(self.unit[rows])


@dataclass(frozen=True)
class TailPairs:
    """Which known pairs have a value and are in the tails, and the tails."""

    tails: Tails
    found: Bool[np.ndarray, "pairs t"]
    counted: Bool[np.ndarray, " pairs"]
    """Whether each known pair has a value."""
    count: int
    """Number of all pairs with a value."""


def find_in_tails(
    values: PairValues, percentiles: Sequence[Percentiles], pairs: Pairs
) -> TailPairs:
    """Return which of `pairs` are in the tails of the values of all pairs of rows."""
    known = PairsInTiles(pairs, len(values))
    brackets = _bracket(values, percentiles)
    strips = run_strips(len(values), values.cut, partial(_look, brackets, known), "recall")
    counts, below, collected, taken = zip(
        *(tile for strip in strips for tile in strip), strict=True
    )
    count, of_pairs = sum(counts), np.empty(len(pairs))
    of_pairs[known.order] = np.concatenate(taken)
    ranks = tail_ranks(count, percentiles)
    inside = np.clip(ranks, 0, max(count - 1, 0))
    limits = _pick(inside - np.sum(below, axis=0), collected)
    if limits is None:
        limits, of_pairs = scan_strips(len(values), values.cut, inside, pairs)
    tails, counted = tails_at(limits, ranks, count), of_pairs < NO_VALUE
    found = [counted & tails.contain(of_pairs, which) for which in range(len(percentiles))]
    return TailPairs(tails, np.column_stack(found), counted, count)


def _look(
    brackets: Brackets, known: PairsInTiles, strip: Strip
) -> list[tuple[int, Int[np.ndarray, " r"], list[np.ndarray], np.ndarray]]:
    """Return for each tile: the number of its values, of those below each bracket, the values in
    each bracket, and the values of the known pairs.
    """
    found = []
    for first, second, tile in strip:
        some = each_once(first == second, tile)
        below = np.array([np.count_nonzero(some < low) for low, _ in brackets])
        inside = [some[(some >= low) & (some <= high)] for low, high in brackets]
        count = np.count_nonzero(some < NO_VALUE)
        found.append((count, below, inside, known.take(first, second, tile)))
    return found


def _pick(
    places: Int[np.ndarray, " r"], collected: Sequence[list[np.ndarray]]
) -> Float64[np.ndarray, " r"] | None:
    """Return the value at a place among the sorted values of each bracket; None if one has none."""
    limits = np.empty(len(places))
    for number, place in enumerate(places):
        some = np.concatenate([of_tile[number] for of_tile in collected])
        if not 0 <= place < len(some):
            return None
        limits[number] = np.partition(some, place)[place]
    return limits


def _bracket(values: PairValues, percentiles: Sequence[Percentiles]) -> Brackets:
    """Return an interval around each threshold that most probably contains it."""
    matrix, share = _sample(values)
    # Twice each pair, which changes no share.
    ordered = np.sort(matrix[matrix < NO_VALUE])
    if not len(ordered):
        return _nowhere(2 * len(percentiles))
    shares = np.array(tail_ranks(len(ordered), percentiles)).clip(0, len(ordered) - 1)
    limits = ordered[shares]
    margins = [_margin(matrix, limit, share) * len(ordered) for limit in limits]
    ends = np.stack([shares - margins, shares + np.array(margins) + 1], axis=1)
    places = np.clip(ends, 0, len(ordered) - 1).astype(np.int64)
    # A little wider, because a product of other rows rounds differently.
    brackets = ordered[places] + np.array([-1e-9, 1e-9])
    brackets[ends[:, 0] < 0, 0], brackets[ends[:, 1] >= len(ordered), 1] = -np.inf, NO_VALUE
    held = [
        np.searchsorted(ordered, high, "right") - np.searchsorted(ordered, low)
        for low, high in brackets
    ]
    pairs = len(values) * (len(values) - 1) / 2
    # Many equal values, as of a map with one feature: the two passes count equal values once.
    if sum(held) / len(ordered) * pairs > _COLLECTED:
        return _nowhere(len(brackets))
    return brackets


def _nowhere(count: int) -> Brackets:
    """Return brackets that no value is in."""
    return np.tile([np.inf, -np.inf], (count, 1))


def _sample(values: PairValues) -> tuple[Float64[np.ndarray, "m m"], float]:
    """Return the values of all pairs of some rows, and the share of the rows they are."""
    # Which rows are drawn changes how long it takes, not what is found.
    size = min(len(values), _SAMPLE)
    rows = np.sort(np.random.default_rng(0).permutation(len(values))[:size])
    some = values.take(rows)
    matrix = np.full((size, size), NO_VALUE)

    def put(strip: Strip) -> None:
        for first, second, tile in strip:
            height, width = tile.shape
            matrix[first : first + height, second : second + width] = tile
            matrix[second : second + width, first : first + height] = tile.T

    for _ in run_strips(size, some.cut, put, "recall, sample"):
        pass
    np.fill_diagonal(matrix, NO_VALUE)
    return matrix, size / len(values)


def _margin(matrix: Float64[np.ndarray, "m m"], limit: float, share: float) -> float:
    """Return how far the share of all pairs below `limit` may be from that in the sample."""
    # The share among pairs of sampled rows is a U-statistic of degree two: its variance is four
    # times that of the rows' own shares, divided by their number (Hoeffding 1948).
    has_value = (matrix < NO_VALUE).sum(axis=1)
    of_rows = (matrix < limit).sum(axis=1) / np.maximum(has_value, 1)
    rows = 2 * np.std(of_rows[has_value > 0]) / np.sqrt(len(matrix))
    pairs = np.sqrt(of_rows.mean() * (1 - of_rows.mean())) / len(matrix)
    return _ERRORS * float(rows + pairs) * np.sqrt(1 - share)
