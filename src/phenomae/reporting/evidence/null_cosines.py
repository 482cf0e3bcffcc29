"""The distribution that the cosines of a map would have if its genes were unrelated.

Cosines of noise are as large as its dimensions are few, so a colour for "similar" has to be in
units of this null distribution and not of the cosine.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

_ROWS = 1_500  # of a shuffled map whose cosines are computed: a million pairs
_PAIRS = 200_000  # from which a threshold of one in a thousand is estimated
_MOST_SHUFFLES = 500  # of maps with so few rows that one shuffle has few pairs
_COLOURED = 0.001
_SMALLEST = 1e-9  # of a map whose rows are all equal


@dataclass(frozen=True)
class NullCosines:
    """Mean and standard deviation of the null distribution, and what is rare in it."""

    mean: float
    sd: float
    threshold: float
    """One in a thousand cosines of the null distribution is further from the mean, in `sd`."""

    def standardise(self, cosines: Float64[np.ndarray, "*n"]) -> Float64[np.ndarray, "*n"]:
        """Return cosines as standard deviations from the mean of the null distribution."""
        return (cosines - self.mean) / self.sd


def shuffle_features(unit: Float64[np.ndarray, "g d"], seed: int = 0) -> NullCosines:
    """Return the null distribution of the cosines of rows of length 1.

    The rows are rotated to their principal axes, and the scores on each axis are permuted among the
    rows. Shuffled rows have the covariance of the features, but are unrelated; permuting the
    features themselves would take correlated features, whose cosines are larger, for independent.
    """
    scores = _rotate(unit)
    rng = np.random.default_rng(seed)
    some = min(len(scores), _ROWS)
    above = np.triu_indices(some, k=1)
    times = min(_MOST_SHUFFLES, -(-_PAIRS // len(above[0])))
    drawn = np.concatenate([_shuffle(scores, some, rng)[above] for _ in range(times)])
    mean, sd = float(drawn.mean()), max(float(drawn.std()), _SMALLEST)
    rare = float(np.quantile(np.abs(drawn - mean), 1 - _COLOURED)) / sd
    # Of rows that are all equal, nothing is rare.
    return NullCosines(mean, max(sd * _correct(scores), _SMALLEST), max(rare, 1.0))


def _rotate(unit: Float64[np.ndarray, "g d"]) -> Float64[np.ndarray, "g axes"]:
    """Return the scores of the rows on their principal axes, without centering."""
    if unit.shape[1] > len(unit):
        left, lengths, _ = np.linalg.svd(unit, full_matrices=False)
        return left * lengths
    _, axes = np.linalg.eigh(unit.T @ unit)
    return unit @ axes


def _shuffle(
    scores: Float64[np.ndarray, "g axes"], some: int, rng: np.random.Generator
) -> Float64[np.ndarray, "some some"]:
    """Return the cosines of `some` rows after the scores on each axis were permuted."""
    rows = rng.permuted(scores, axis=0)[:some]
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    rows = rows / np.maximum(lengths, _SMALLEST)
    return rows @ rows.T


def _correct(scores: Float64[np.ndarray, "g axes"]) -> float:
    """Return the factor that corrects for axes that were fitted on the rows themselves; at most 1.

    With variances l of the axes the mean square of shuffled cosines is sum(l^2). This is the mean
    square over all n^2 pairs of rows, n of which are a row with itself and have the cosine 1. With
    fewer rows than features these would be most of it.
    """
    count = len(scores)
    square = float((np.square(scores).mean(axis=0) ** 2).sum())
    return float(np.sqrt(max(0.0, (count * square - 1) / ((count - 1) * square))))
