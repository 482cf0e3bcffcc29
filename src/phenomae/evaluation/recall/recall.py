"""Recall: the fraction of known pairs in the lower or upper tail of all pairwise cosines.

Defined as in the public benchmark of Celik et al. 2024 (PLOS Comput Biol): a pair is in the lower
tail if the fraction of all pairs with a cosine at most its own is at most `low`, and in the upper
tail if the fraction of pairs with a smaller cosine is at least `high`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from jaxtyping import Bool, Float64, Int

from phenomae.evaluation.recall.cosines import Pairs, Unit, scan

Percentiles = tuple[float, float]


@dataclass(frozen=True)
class Tails:
    """Thresholds of the tails per percentile pair: a cosine < `below` or > `above` is in a tail."""

    below: Float64[np.ndarray, " t"]
    above: Float64[np.ndarray, " t"]

    def recall(self, cosines: Float64[np.ndarray, " pairs"]) -> Float64[np.ndarray, " t"]:
        """Return the fraction of the cosines in the tails, for each percentile pair."""
        # Sorted once, so that every percentile pair is two bisections.
        ordered = np.sort(cosines)
        low = np.searchsorted(ordered, self.below, side="left")
        high = len(ordered) - np.searchsorted(ordered, self.above, side="right")
        return (low + high) / len(ordered)  # tails do not overlap, because low <= high

    def contain(
        self, cosines: Float64[np.ndarray, " pairs"], which: int
    ) -> Bool[np.ndarray, " pairs"]:
        """Return for each cosine whether it is in the tails of percentile pair number `which`."""
        return (cosines < self.below[which]) | (cosines > self.above[which])


def find_tails(
    unit: Unit, percentiles: Sequence[Percentiles], pairs: Pairs
) -> tuple[Tails, Float64[np.ndarray, " pairs"]]:
    """Return the thresholds of the tails of all pairwise cosines, and the cosines of `pairs`."""
    count = len(unit) * (len(unit) - 1) // 2
    ranks = tail_ranks(count, percentiles)
    limits, cosines = scan(unit, np.clip(ranks, 0, count - 1), pairs)
    return tails_at(limits, ranks, count), cosines


def tails_at(
    limits: Float64[np.ndarray, " 2t"], ranks: Int[np.ndarray, " 2t"], count: int
) -> Tails:
    """Return the tails, given the values at the ranks of `tail_ranks` among `count` pairs."""
    # A tail of 100 % (low 1 or high 0) has an infinite threshold, because comparisons are strict.
    limits = np.where(ranks < 0, -np.inf, np.where(ranks >= count, np.inf, limits))
    return Tails(limits[: len(ranks) // 2], limits[len(ranks) // 2 :])


def tail_ranks(count: int, percentiles: Sequence[Percentiles]) -> Int[np.ndarray, " 2t"]:
    """Return the ranks of all lower, then of all upper thresholds among `count` sorted cosines."""
    # Exact fractions of the decimals as the user wrote them, because a rounding error in
    # low * count would change a rank by one.
    lows = [math.floor(Fraction(str(float(low))) * count) for low, _ in percentiles]
    highs = [math.ceil(Fraction(str(float(high))) * count) for _, high in percentiles]
    return np.array([*lows, *(rank - 1 for rank in highs)])


def empty_tail(pairs: int, percentiles: Sequence[Percentiles]) -> float | None:
    """Return the smallest share that is less than one of `pairs` pairs; None if there is none."""
    ranks = tail_ranks(pairs, percentiles).tolist()
    # The ranks that recall uses: a separate check in floating point could differ by one pair.
    shares = [low for low, _ in percentiles] + [1 - high for _, high in percentiles]
    sizes = ranks[: len(percentiles)] + [pairs - 1 - rank for rank in ranks[len(percentiles) :]]
    empty = [share for share, size in zip(shares, sizes, strict=True) if share > 0 and size < 1]
    return min(empty) if empty else None
