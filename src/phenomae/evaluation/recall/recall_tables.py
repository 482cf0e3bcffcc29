"""Computes the tables of `benchmark`: recall per source, with bootstrap CI and p-values.

All sources and percentile pairs share the scans over all cosines, which take most of the time.
"""

import numpy as np
import polars as pl
from jaxtyping import Float64, UInt8

from phenomae.evaluation.recall.bootstrap import interval, resampled_recalls
from phenomae.evaluation.recall.cosines import Pairs, Unit, mark_tails
from phenomae.evaluation.recall.permutation import degree_strata, shuffled_recalls
from phenomae.evaluation.recall.recall import Percentiles, Tails, find_tails
from phenomae.evaluation.recall.tables import curve_table, recall_table, shuffled_table
from phenomae.evaluation.settings import BenchmarkSettings
from phenomae.maps.p_values import p_values
from phenomae.maps.read import ConsensusProfiles
from phenomae.maps.unit_vectors import unit_rows

STEPS: list[Percentiles] = [(step / 100, (100 - step) / 100) for step in range(1, 51)]
"""The percentile pairs of curve.csv: 1 % + 1 % to 50 % + 50 %."""


def measure(
    profiles: ConsensusProfiles,
    pairs: dict[str, Pairs],
    percentiles: list[Percentiles],
    settings: BenchmarkSettings,
) -> dict[str, pl.DataFrame]:
    """Return recall.csv, curve.csv and, if names are permuted, shuffled.csv.

    `pairs` are the known pairs of every source, as row indices of the map.
    """
    unit = unit_rows(profiles.features)
    # One scan for all sources and percentiles, because a scan computes all cosines twice.
    tails, cosines = find_tails(unit, percentiles + STEPS, np.concatenate(list(pairs.values())))
    ends = np.cumsum([len(known) for known in pairs.values()])[:-1]
    of_sources = dict(zip(pairs, np.split(cosines, ends), strict=True))
    shuffled = _shuffle(unit, tails, pairs, len(percentiles), settings)
    tables: dict[str, list[pl.DataFrame]] = {"recall.csv": [], "curve.csv": [], "shuffled.csv": []}
    for source, known in pairs.items():
        recalls = tails.recall(of_sources[source])
        main, curve = recalls[: len(percentiles)], recalls[len(percentiles) :]
        limits = _intervals(tails, of_sources[source], known, len(percentiles), settings)
        null = shuffled.get(source)
        p = (
            []
            if null is None
            else [p_values(*one)[0] for one in zip(main[:, None], null.T, strict=True)]
        )
        tables["recall.csv"].append(recall_table(source, percentiles, main, known, limits, p))
        tables["curve.csv"].append(curve_table(source, STEPS, curve, known))
        if null is not None:
            tables["shuffled.csv"].append(shuffled_table(source, percentiles, null))
    return {name: pl.concat(parts) for name, parts in tables.items() if parts}


def _intervals(
    tails: Tails,
    cosines: Float64[np.ndarray, " pairs"],
    known: Pairs,
    count: int,
    settings: BenchmarkSettings,
) -> list[tuple[float, float]]:
    """Return the CI at the first `count` percentile pairs; empty if `resamples` is 0."""
    if not settings.resamples:
        return []
    # One bootstrap for all percentile pairs, so that their intervals use the same resamples.
    found = np.column_stack([tails.contain(cosines, which) for which in range(count)])
    resampled = resampled_recalls(found, known, settings.resamples, settings.seed)
    return [interval(column) for column in resampled.T]


def _shuffle(
    unit: Unit, tails: Tails, pairs: dict[str, Pairs], count: int, settings: BenchmarkSettings
) -> dict[str, Float64[np.ndarray, "shuffles t"]]:
    """Return the null distribution of each source at the first `count` percentile pairs."""
    if not settings.shuffle:
        return {}
    columns: dict[str, list[Float64[np.ndarray, " shuffles"]]] = {source: [] for source in pairs}
    for which in range(count):
        # All sources and permutations share the marks of a percentile pair.
        marks: UInt8[np.ndarray, "g eighth_of_g"] = mark_tails(
            unit, tails.below[which], tails.above[which]
        )
        for source, known in pairs.items():
            strata = degree_strata(known, len(unit)) if settings.within == "degree" else None
            columns[source].append(
                shuffled_recalls(marks, known, settings.shuffle, settings.seed, strata)
            )
    return {source: np.column_stack(parts) for source, parts in columns.items()}
