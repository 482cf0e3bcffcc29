"""Recall at a few percentiles from one pass over all pairs, for maps that stand beside the map.

A sample of the rows gives a bracket around each threshold; the pass counts the values below the
brackets and collects those in them, so that thresholds are exact order statistics. Where a bracket
misses its threshold, or holds too many equal values, the two passes of `cosines.scan` do it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Bool, Float64, Int

from phenomae.evaluation.recall.cosines import Pairs, Unit, each_once, scan
from phenomae.evaluation.recall.recall import Percentiles, Tails, tail_ranks, tails_at
from phenomae.evaluation.recall.tiles import PairsInTiles, Strip, each_strip

_SAMPLE = 2048  # rows of the sample: 2 million pairs, whose matrix product is 1 % of the pass
_ERRORS = 6  # standard errors of a rank in the sample on both sides of a bracket
_COLLECTED = 1 << 24  # values in the brackets that are in memory at most: 128 MB
Brackets = Float64[np.ndarray, "r 2"]


@dataclass(frozen=True)
class TailPairs:
    """The tails of all pairwise cosines, and which known pairs are in them."""

    tails: Tails
    found: Bool[np.ndarray, "pairs t"]


def find_in_tails(unit: Unit, percentiles: Sequence[Percentiles], pairs: Pairs) -> TailPairs:
    """Return which of `pairs` are in the tails of the cosines of all pairs of rows."""
    known, count = PairsInTiles(pairs, len(unit)), len(unit) * (len(unit) - 1) // 2
    brackets = _bracket(unit, percentiles)
    strips = each_strip(unit, partial(_look, brackets, known), "recall")
    below, collected, taken = zip(*(tile for strip in strips for tile in strip), strict=True)
    cosines = np.empty(len(pairs))
    cosines[known.order] = np.concatenate(taken)
    ranks = tail_ranks(count, percentiles)
    inside = np.clip(ranks, 0, count - 1)
    limits = _pick(inside - np.sum(below, axis=0), collected)
    if limits is None:
        limits, cosines = scan(unit, inside, pairs)
    tails = tails_at(limits, ranks, count)
    found = [tails.contain(cosines, which) for which in range(len(percentiles))]
    return TailPairs(tails, np.column_stack(found))


def _look(
    brackets: Brackets, known: PairsInTiles, strip: Strip
) -> list[tuple[Int[np.ndarray, " r"], list[np.ndarray], np.ndarray]]:
    """Return for each tile: the number of cosines below each bracket, the cosines in each bracket,
    and those of the known pairs.
    """
    found = []
    for first, second, tile in strip:
        some = each_once(first == second, tile)
        below = np.array([np.count_nonzero(some < low) for low, _ in brackets])
        inside = [some[(some >= low) & (some <= high)] for low, high in brackets]
        found.append((below, inside, known.take(first, second, tile)))
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


def _bracket(unit: Unit, percentiles: Sequence[Percentiles]) -> Brackets:
    """Return an interval around each threshold that most probably contains it."""
    cosines, share = _sample(unit)
    ordered = np.sort(cosines[~np.eye(len(cosines), dtype=bool)])  # each pair twice
    places = np.array(tail_ranks(len(ordered), percentiles)).clip(0, len(ordered) - 1)
    limits = ordered[places]
    margins = np.array([_margin(cosines, limit, share) * len(ordered) for limit in limits])
    ends = np.stack([places - margins, places + margins + 1], axis=1)
    # A little wider, because a product of other rows rounds differently.
    brackets = ordered[np.clip(ends, 0, len(ordered) - 1).astype(np.int64)] + [-1e-9, 1e-9]
    brackets[ends[:, 0] < 0, 0], brackets[ends[:, 1] >= len(ordered), 1] = -np.inf, np.inf
    held = [
        np.searchsorted(ordered, high, "right") - np.searchsorted(ordered, low)
        for low, high in brackets
    ]
    pairs = len(unit) * (len(unit) - 1) / 2
    # Many equal cosines, as of a map with one feature: the two passes count equal ones once.
    if sum(held) / len(ordered) * pairs > _COLLECTED:
        return np.tile([np.inf, -np.inf], (len(brackets), 1))
    return brackets


def _sample(unit: Unit) -> tuple[Float64[np.ndarray, "m m"], float]:
    """Return the cosines of all pairs of some rows, and the share of the rows they are."""
    # Which rows are drawn changes how long it takes, not what is found.
    size = min(len(unit), _SAMPLE)
    some = unit[np.random.default_rng(0).permutation(len(unit))[:size]]
    return some @ some.T, size / len(unit)


def _margin(cosines: Float64[np.ndarray, "m m"], limit: float, share: float) -> float:
    """Return how far the share of all pairs below `limit` may be from that in the sample."""
    # The share among pairs of sampled rows is a U-statistic of degree two: its variance is four
    # times that of the rows' own shares, divided by their number (Hoeffding 1948).
    below = (cosines < limit).sum(axis=1) - (np.diag(cosines) < limit)
    of_rows = below / (len(cosines) - 1)
    rows = 2 * np.std(of_rows) / np.sqrt(len(cosines))
    pairs = np.sqrt(of_rows.mean() * (1 - of_rows.mean())) / len(cosines)
    return _ERRORS * float(rows + pairs) * np.sqrt(1 - share)
