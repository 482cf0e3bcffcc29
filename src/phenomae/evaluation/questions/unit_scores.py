"""Scores of a question per unit (compound, gene, complex), and their paired bootstrap.

All features are scored on the same units and resamples, so that the effect of a unit that is easy
for all of them cancels in a difference.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Float64

from phenomae.evaluation.recall.bootstrap import draw_counts


@dataclass(frozen=True)
class UnitScores:
    """The score of a question as a weighted mean over units: sum of totals / sum of weights."""

    units: list[str]
    totals: Float64[np.ndarray, " units"]
    """The part of each unit in the numerator, such as its number of matched profiles."""
    weights: Float64[np.ndarray, " units"]
    """The part of each unit in the denominator, such as its number of profiles; above 0."""

    @property
    def score(self) -> float:
        """The weighted mean over all units, each of them once."""
        return float(self.totals.sum() / self.weights.sum())


def unit_scores(
    table: pl.DataFrame, unit: str, total: pl.Expr, weight: pl.Expr | None = None
) -> UnitScores:
    """Return the scores of the units in the column `unit`, sorted by name.

    `total` and `weight` are summed over the rows of a unit; without `weight` each row has weight 1.
    """
    sums = (
        table.group_by(pl.col(unit).cast(pl.String).alias("unit"))
        .agg(
            total=total.cast(pl.Float64).sum(),
            weight=pl.len().cast(pl.Float64) if weight is None else weight.cast(pl.Float64).sum(),
        )
        .sort("unit")
    )
    return UnitScores(sums["unit"].to_list(), sums["total"].to_numpy(), sums["weight"].to_numpy())


def resample_scores(
    scores: Sequence[UnitScores], resamples: int, seed: int
) -> Float64[np.ndarray, "resamples features"]:
    """Return the scores of several features in each bootstrap resample of their units.

    The features have the same units. Resample k depends on `seed` and k alone.
    """
    assert all(one.units == scores[0].units for one in scores)
    totals, weights = (
        np.stack([getattr(one, part) for one in scores], axis=1) for part in ("totals", "weights")
    )
    drawn = np.empty((resamples, len(scores)))
    # One resample at a time, because the counts of all of them may be larger than the profiles.
    for k in range(resamples):
        counts = draw_counts(len(totals), [seed, k])
        drawn[k] = (counts @ totals) / (counts @ weights)
    return drawn
