"""Computes the tables of `benchmark`: recall per source, with bootstrap CI and p-values.

All sources and percentile pairs share the scans over all cosines, which take most of the time.
"""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import polars as pl
from jaxtyping import Bool, Float64, UInt8

from phenomae.evaluation.recall.baselines import (
    THESE,
    baseline_table,
    find_of_baselines,
    pool_pairs,
)
from phenomae.evaluation.recall.bootstrap import interval, resampled_recalls
from phenomae.evaluation.recall.cosines import Pairs, Unit, mark_tails
from phenomae.evaluation.recall.permutation import degree_strata, shuffled_recalls
from phenomae.evaluation.recall.recall import Percentiles, Tails, find_tails
from phenomae.evaluation.recall.tables import (
    KNOWN_PAIRS_FILE,
    curve_table,
    known_pairs_table,
    recall_table,
    shuffled_table,
)
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
    baselines: Mapping[str, ConsensusProfiles] = MappingProxyType({}),
) -> dict[str, pl.DataFrame]:
    """Return recall.csv, curve.csv, known_pairs.csv and, with some settings, two more tables.

    With permuted names there is shuffled.csv, with baselines baselines.csv.

    `pairs` are the known pairs of every source, as row indices of the map and of all baselines.
    """
    unit = unit_rows(profiles.features)
    sources, count = list(pairs), len(percentiles)
    if baselines:
        pairs = pool_pairs(pairs)
    all_pairs = np.concatenate(list(pairs.values()))
    # One scan for all sources and percentiles, because a scan computes all cosines twice.
    tails, cosines = find_tails(unit, percentiles + STEPS, all_pairs)
    ends = np.cumsum([len(known) for known in pairs.values()])[:-1]
    of_sources = dict(zip(pairs, np.split(cosines, ends), strict=True))
    beside = find_of_baselines(baselines, percentiles, all_pairs)
    beside_sources = {name: np.split(found, ends) for name, found in beside.items()}
    shuffled = _shuffle(unit, tails, pairs, count, settings)
    tables: dict[str, list[pl.DataFrame]] = {}
    for number, (source, known) in enumerate(pairs.items()):
        marks = [tails.contain(of_sources[source], which) for which in range(count)]
        found = {name: parts[number] for name, parts in beside_sources.items()}
        found = {THESE: np.column_stack(marks), **found}
        null = shuffled.get(source)
        # One bootstrap for all percentile pairs and maps, so that their resamples are the same.
        resampled = _resample(found, known, settings)
        if baselines:
            table = baseline_table(source, percentiles, found, resampled, null)
            tables.setdefault("baselines.csv", []).append(table)
        if source in sources:
            recalls = tails.recall(of_sources[source])
            limits = [interval(column) for column in resampled.T[:count]]
            of_source = _tables(source, percentiles, known, recalls, limits, null)
            of_pairs = (known, of_sources[source], marks[0])
            of_source[KNOWN_PAIRS_FILE] = known_pairs_table(source, profiles.names, *of_pairs)
            for name, table in of_source.items():
                tables.setdefault(name, []).append(table)
    return {name: pl.concat(parts) for name, parts in tables.items()}


def _tables(
    source: str,
    percentiles: list[Percentiles],
    known: Pairs,
    recalls: Float64[np.ndarray, " t"],
    limits: list[tuple[float, float]],
    null: Float64[np.ndarray, "shuffles t"] | None,
) -> dict[str, pl.DataFrame]:
    """Return the rows of one source in each table; `recalls` are at `percentiles` and `STEPS`."""
    main, curve = recalls[: len(percentiles)], recalls[len(percentiles) :]
    tables = {"curve.csv": curve_table(source, STEPS, curve, known)}
    p: list[float] = []
    if null is not None:
        p = [p_values(*one)[0] for one in zip(main[:, None], null.T, strict=True)]
        tables["shuffled.csv"] = shuffled_table(source, percentiles, null)
    return {"recall.csv": recall_table(source, percentiles, main, known, limits, p), **tables}


def _resample(
    found: dict[str, Bool[np.ndarray, "pairs t"]], known: Pairs, settings: BenchmarkSettings
) -> Float64[np.ndarray, "resamples columns"]:
    """Return the recalls of all maps, column by column, in each resample; no columns without."""
    if not settings.resamples:
        return np.empty((0, 0))
    columns = np.column_stack(list(found.values()))
    return resampled_recalls(columns, known, settings.resamples, settings.seed)


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
