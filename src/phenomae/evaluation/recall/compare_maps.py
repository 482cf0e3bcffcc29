"""Compares the recall of maps on the same genes, known pairs and bootstrap resamples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from types import MappingProxyType
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Bool, Float64

from phenomae.evaluation.annotations import ALL_SOURCES
from phenomae.evaluation.baseline_maps import TRAINED, without_learning
from phenomae.evaluation.recall.baselines import describe_difference
from phenomae.evaluation.recall.bootstrap import interval, resampled_recalls
from phenomae.evaluation.recall.cosines import Pairs
from phenomae.evaluation.recall.recall import Percentiles, find_tails
from phenomae.evaluation.recall.recall_tables import STEPS
from phenomae.evaluation.recall.tables import curve_table, recall_table
from phenomae.maps.read import ConsensusProfiles
from phenomae.maps.unit_vectors import unit_rows

LEARNED: dict[str, pl.DataType] = {
    "source": pl.String(),
    "map": pl.String(),
    "kind": pl.String(),
    "recall": pl.Float64(),
    "ci_low": pl.Float64(),
    "ci_high": pl.Float64(),
    "best": pl.String(),
    "difference": pl.Float64(),
    "difference_ci_low": pl.Float64(),
    "difference_ci_high": pl.Float64(),
}


@dataclass(frozen=True)
class MapRecall:
    """The recall of one map for one annotation."""

    recall: float
    curve: Float64[np.ndarray, " t"]
    """Recall at each percentile pair of `recall_tables.STEPS`."""
    found: Bool[np.ndarray, " pairs"]
    """Whether each known pair is in the tails."""


def share_genes(maps: dict[str, ConsensusProfiles]) -> dict[str, ConsensusProfiles]:
    """Restrict all maps to the row names that they have in common, in the same order."""
    # Sorted, because the order of a set differs between processes and would change the bootstrap.
    common = sorted(set.intersection(*(set(profiles.names) for profiles in maps.values())))
    shared = {}
    for name, profiles in maps.items():
        row_of = {gene: row for row, gene in enumerate(profiles.names)}
        rows = [row_of[gene] for gene in common]
        shared[name] = replace(
            profiles, names=common, features=profiles.features[rows], obs=profiles.obs[rows]
        )
    return shared


def measure_map(
    profiles: ConsensusProfiles, pairs: dict[str, Pairs], percentiles: Percentiles
) -> dict[str, MapRecall]:
    """Compute the recall of a map for every annotation.

    `pairs` are the known pairs of each annotation, as row indices of the map.
    """
    unit = unit_rows(profiles.features)
    # One scan for the pairs of all annotations, because a scan computes all cosines of the map.
    all_pairs = np.concatenate(list(pairs.values()))
    tails, cosines = find_tails(unit, [percentiles, *STEPS], all_pairs)
    measured, start = {}, 0
    for source, known in pairs.items():
        of_source = cosines[start : start + len(known)]
        start += len(known)
        recalls = tails.recall(of_source)
        measured[source] = MapRecall(float(recalls[0]), recalls[1:], tails.contain(of_source, 0))
    return measured


def compare_recalls(
    measured: dict[str, dict[str, MapRecall]],
    pairs: dict[str, Pairs],
    percentiles: Percentiles,
    resamples: int,
    seed: int,
    kinds: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, pl.DataFrame]:
    """Return recall.csv, curve.csv and differences.csv of maps with the same rows.

    If one of the `kinds` of the maps is one without learning, also return learned.csv.
    """
    # Resample k draws the same genes for every map. The effect of a gene that is easy for all maps
    # cancels in a difference of recalls, so its interval is narrower than from two bootstraps.
    tables: dict[str, list[pl.DataFrame]] = {}
    marks: dict[str, Bool[np.ndarray, "pairs maps"]] = {}
    drawn_of: dict[str, Float64[np.ndarray, "resamples maps"]] = {}
    for source, known in pairs.items():
        of_maps = {name: recalls[source] for name, recalls in measured.items()}
        found = np.column_stack([of_map.found for of_map in of_maps.values()])
        resampled = resampled_recalls(found, known, resamples, seed)
        marks[source], drawn_of[source] = found, resampled
        for (name, of_map), column in zip(of_maps.items(), resampled.T, strict=True):
            recalls = np.array([of_map.recall])
            row = recall_table(source, [percentiles], recalls, known, [interval(column)], [])
            tables.setdefault("recall.csv", []).append(_label(name, row.drop("p")))
            curve = curve_table(source, STEPS, of_map.curve, known)
            tables.setdefault("curve.csv", []).append(_label(name, curve))
        for (first, one), (second, other) in combinations(enumerate(of_maps), 2):
            difference = of_maps[other].recall - of_maps[one].recall
            drawn = resampled[:, second] - resampled[:, first]
            row = _difference_row(source, (one, other), difference, drawn)
            tables.setdefault("differences.csv", []).append(row)
    if without_learning(kinds):
        if len(pairs) > 1:
            pooled, first = np.unique(
                np.concatenate(list(pairs.values())), axis=0, return_index=True
            )
            marks[ALL_SOURCES] = np.concatenate(list(marks.values()))[first]
            drawn_of[ALL_SOURCES] = resampled_recalls(marks[ALL_SOURCES], pooled, resamples, seed)
        tables["learned.csv"] = [
            _differences_from_best(source, kinds, found.mean(axis=0), drawn_of[source])
            for source, found in marks.items()
        ]
    return {name: pl.concat(parts) for name, parts in tables.items()}


def p_of_difference(drawn: Float64[np.ndarray, " resamples"]) -> float:
    """Return the two-sided bootstrap p-value of a difference of recalls; never 0."""
    # The difference is NaN in resamples without any known pair.
    drawn = drawn[np.isfinite(drawn)]
    sides: Sequence[int] = (int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    return min(1.0, 2 * (1 + min(sides)) / (1 + len(drawn)))


def find_learned_of_maps(table: pl.DataFrame) -> list[dict[str, Any]]:
    """Return what each trained map of learned.csv has learned, for each source."""
    numbers = ["difference", "difference_ci_low", "difference_ci_high"]
    return [
        {
            "source": row["source"],
            "map": row["map"],
            **describe_difference(row["best"], [row[name] for name in numbers]),
        }
        for row in table.filter(pl.col("kind") == TRAINED).iter_rows(named=True)
    ]


def _differences_from_best(
    source: str,
    kinds: Mapping[str, str],
    recalls: Float64[np.ndarray, " maps"],
    drawn: Float64[np.ndarray, "resamples maps"],
) -> pl.DataFrame:
    """Return the rows of learned.csv: each map minus the best of those without learning."""
    without = without_learning(kinds)
    can_be_best = [name in without for name in kinds]
    best = int(np.where(can_be_best, recalls, -1).argmax())
    rows = []
    for number, (name, kind) in enumerate(kinds.items()):
        row = (source, name, kind or None, recalls[number], *interval(drawn[:, number]))
        difference = recalls[number] - recalls[best]
        paired = (difference, *interval(drawn[:, number] - drawn[:, best]))
        rows.append((*row, list(kinds)[best], *(paired if number != best else (None,) * 3)))
    return pl.DataFrame(rows, LEARNED, orient="row").with_columns(pl.col(pl.Float64).fill_nan(None))


def _difference_row(
    source: str,
    names: tuple[str, str],
    difference: float,
    drawn: Float64[np.ndarray, " resamples"],
) -> pl.DataFrame:
    low, high = interval(drawn)
    return pl.DataFrame(
        {
            "source": [source],
            "map": [names[1]],
            "minus": [names[0]],
            "difference": [difference],
            "ci_low": [low],
            "ci_high": [high],
            "p": [p_of_difference(drawn)],
        },
        nan_to_null=True,
    )


def _label(name: str, table: pl.DataFrame) -> pl.DataFrame:
    return table.select(pl.lit(name).alias("map"), pl.all())
