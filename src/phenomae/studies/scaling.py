"""Recall over training FLOPs: rank correlation, and a line with its interval.

Intervals are of screens and genes: each resample draws screens with replacement, and genes for each
drawn screen, the same for all networks. They say how the result would differ on other screens and
genes, and not how it would differ with other seeds of training. With few screens, the variation
between screens is underestimated; with one, only genes vary.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Bool, Float64
from scipy.stats import rankdata

from phenomae.evaluation.recall.bootstrap import interval, resampled_recalls
from phenomae.evaluation.recall.cosines import Pairs

MIN_NETWORKS = 3  # a line through two points fits whatever they are


@dataclass(frozen=True)
class Recalls:
    """The recall of maps on several screens, and its resamples."""

    names: list[str]
    by_screen: Float64[np.ndarray, "screens maps"]
    drawn: Float64[np.ndarray, "resamples maps"]
    """Means over drawn screens of the recall of drawn genes."""

    def of(self, names: list[str]) -> "Recalls":
        """Return the recalls of some maps, in the order of `names`."""
        columns = [self.names.index(name) for name in names]
        return Recalls(names, self.by_screen[:, columns], self.drawn[:, columns])

    @property
    def mean(self) -> Float64[np.ndarray, " maps"]:
        """The mean recall over the screens."""
        return self.by_screen.mean(axis=0)

    def intervals(self) -> list[tuple[float, float]]:
        """Return the 95 % interval of each map's mean recall."""
        return [interval(column) for column in self.drawn.T]


def measure_recalls(
    names: list[str],
    found: list[Bool[np.ndarray, "pairs maps"]],
    pairs: list[Pairs],
    resamples: int,
    seed: int,
) -> Recalls:
    """Return the recalls of maps from the known pairs of each screen that they have found."""
    by_screen = np.stack([marks.mean(axis=0) for marks in found])
    return Recalls(names, by_screen, resample_screens(found, pairs, resamples, seed))


def resample_screens(
    found: list[Bool[np.ndarray, "pairs maps"]], pairs: list[Pairs], resamples: int, seed: int
) -> Float64[np.ndarray, "resamples maps"]:
    """Return mean recalls over resampled screens, each with genes that are drawn for it.

    As many screens are drawn with replacement as there are; a screen that is drawn twice has other
    genes each time.
    """
    count = len(found)
    # A key of three numbers, because those of genes have two.
    drawn = np.random.default_rng([seed, count, resamples]).integers(count, size=(resamples, count))
    total = np.zeros((resamples, found[0].shape[1]))
    for place in range(count):
        for screen, (marks, known) in enumerate(zip(found, pairs, strict=True)):
            rows = np.flatnonzero(drawn[:, place] == screen)
            own_seed = seed + 1 + place * count + screen
            total[rows] += resampled_recalls(marks, known, resamples, own_seed)[rows]
    return total / count


def fit_line(
    flops: Float64[np.ndarray, " maps"], recall: Float64[np.ndarray, "*some maps"]
) -> tuple[Float64[np.ndarray, "*some"], Float64[np.ndarray, "*some"]]:
    """Return slope and intercept of recall over log10 FLOPs, by least squares."""
    log = np.log10(flops)
    centred = log - log.mean()
    slope = recall @ centred / (centred @ centred)
    return slope, recall.mean(axis=-1) - slope * log.mean()


def fit_groups(groups: dict[str, list[str]], flops: dict[str, float], all: Recalls) -> pl.DataFrame:
    """Return the rows of fit.csv: one per group of trainings of `MIN_NETWORKS` or more FLOPs."""
    rows = []
    for group, names in groups.items():
        its, at = all.of(names), np.array([flops[name] for name in names])
        if len(set(at.tolist())) < MIN_NETWORKS:
            continue
        slope, intercept = fit_line(at, its.mean)
        slopes, _ = fit_line(at, its.drawn)
        ranks = np.array([_rank_correlation(at, recall) for recall in its.drawn])
        rank = _rank_correlation(at, its.mean)
        rows.append(
            (
                group,
                len(names),
                rank,
                *interval(ranks),
                float(slope),
                *interval(slopes),
                float(intercept),
            )
        )
    return pl.DataFrame(rows, FIT, orient="row").with_columns(pl.col(pl.Float64).fill_nan(None))


FIT: dict[str, pl.DataType] = {
    "networks": pl.String(),
    "n": pl.Int64(),
    "rank_correlation": pl.Float64(),
    "rank_ci_low": pl.Float64(),
    "rank_ci_high": pl.Float64(),
    "recall_per_decade": pl.Float64(),
    "decade_ci_low": pl.Float64(),
    "decade_ci_high": pl.Float64(),
    "intercept": pl.Float64(),
}


def _rank_correlation(
    flops: Float64[np.ndarray, " maps"], recall: Float64[np.ndarray, " maps"]
) -> float:
    """Return Spearman's correlation; NaN if all recalls are equal."""
    if np.ptp(recall) == 0:
        return np.nan
    return float(np.corrcoef(rankdata(flops), rankdata(recall))[0, 1])
