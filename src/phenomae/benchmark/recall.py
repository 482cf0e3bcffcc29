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
from jaxtyping import Float64, Int

from phenomae.benchmark.cosines import order_statistics, pair_cosines

Percentiles = tuple[float, float]
_PAIRS_AT_ONCE = 4_000_000  # shuffled pairs in one pass over the cosines: 100 MB


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


def find_tails(unit: Float64[np.ndarray, "g d"], percentiles: Sequence[Percentiles]) -> Tails:
    """Return the limits of the tails among the cosines of all pairs of rows."""
    count = len(unit) * (len(unit) - 1) // 2
    # Fractions of the numbers as written: 0.05 * 79800 in floating point is not 3990.
    lows = [math.floor(Fraction(repr(low)) * count) for low, _ in percentiles]
    highs = [math.ceil(Fraction(repr(high)) * count) for _, high in percentiles]
    ranks = np.array([*lows, *(rank - 1 for rank in highs)])
    cosines = order_statistics(unit, np.clip(ranks, 0, count - 1))
    limits = np.where(ranks < 0, -np.inf, np.where(ranks >= count, np.inf, cosines))
    return Tails(limits[: len(lows)], limits[len(lows) :])


def shuffled_recalls(
    unit: Float64[np.ndarray, "g d"],
    pairs: Int[np.ndarray, "pairs 2"],
    tails: Tails,
    shuffles: int,
    seed: int,
) -> Float64[np.ndarray, "shuffles t"]:
    """Return the recall of the pairs when the names of the rows are shuffled, once a shuffle.

    The shuffle number k depends on `seed` and k alone.
    """
    recalls = np.empty((shuffles, len(tails.below)))
    at_once = max(1, _PAIRS_AT_ONCE // len(pairs))
    for start in range(0, shuffles, at_once):
        numbers = range(start, min(start + at_once, shuffles))
        shuffled = [np.random.default_rng([seed, k]).permutation(len(unit))[pairs] for k in numbers]
        cosines = pair_cosines(unit, np.concatenate(shuffled)).reshape(len(numbers), len(pairs))
        for k, row in zip(numbers, cosines, strict=True):
            recalls[k] = tails.recall(row)
    return recalls
