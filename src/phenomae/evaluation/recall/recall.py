"""Recall of known pairs: the share whose cosine is among the lowest or highest of all pairs'.

Celik et al. 2024 (PLOS Comput Biol), as its public benchmark counts: a pair is low where the share
of all pairs with a cosine up to its own is at most `low`, and high where the share of pairs with a
smaller cosine is at least `high`.
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
    """The cosines below and above which a pair counts, for several percentile pairs."""

    below: Float64[np.ndarray, " t"]
    above: Float64[np.ndarray, " t"]

    def recall(self, cosines: Float64[np.ndarray, " pairs"]) -> Float64[np.ndarray, " t"]:
        """Return the share of the cosines that lie in the tails, one number a percentile pair."""
        ordered = np.sort(cosines)
        low = np.searchsorted(ordered, self.below, side="left")
        high = len(ordered) - np.searchsorted(ordered, self.above, side="right")
        return (low + high) / len(ordered)  # the tails never overlap, as low <= high

    def hold(
        self, cosines: Float64[np.ndarray, " pairs"], which: int
    ) -> Bool[np.ndarray, " pairs"]:
        """Say which cosines lie in the tails of the percentile pair number `which`."""
        return (cosines < self.below[which]) | (cosines > self.above[which])


def find_tails(
    unit: Unit, percentiles: Sequence[Percentiles], pairs: Pairs
) -> tuple[Tails, Float64[np.ndarray, " pairs"]]:
    """Return the limits of the tails among the cosines of all pairs, and the cosines of `pairs`."""
    count = len(unit) * (len(unit) - 1) // 2
    ranks = tail_ranks(count, percentiles)
    limits, cosines = scan(unit, np.clip(ranks, 0, count - 1), pairs)
    limits = np.where(ranks < 0, -np.inf, np.where(ranks >= count, np.inf, limits))
    return Tails(limits[: len(percentiles)], limits[len(percentiles) :]), cosines


def tail_ranks(count: int, percentiles: Sequence[Percentiles]) -> Int[np.ndarray, " 2t"]:
    """Return the ranks, among `count` cosines, of the limits below, then of those above."""
    # Fractions of the numbers as written: 0.05 * 79800 in floating point is not 3990.
    lows = [math.floor(Fraction(str(float(low))) * count) for low, _ in percentiles]
    highs = [math.ceil(Fraction(str(float(high))) * count) for _, high in percentiles]
    return np.array([*lows, *(rank - 1 for rank in highs)])
