"""Compares the recall of maps on the same genes, known pairs and bootstrap resamples."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import polars as pl
from jaxtyping import Bool, Float64

from phenomae.evaluation.recall.bootstrap import interval, resampled_recalls
from phenomae.evaluation.recall.cosines import Pairs
from phenomae.evaluation.recall.recall import Percentiles, find_tails
from phenomae.evaluation.recall.recall_tables import STEPS
from phenomae.evaluation.recall.tables import curve_table, recall_table
from phenomae.maps.read import ConsensusProfiles
from phenomae.maps.unit_vectors import unit_rows


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
) -> dict[str, pl.DataFrame]:
    """Return recall.csv, curve.csv and differences.csv of maps with the same rows."""
    # Resample k draws the same genes for every map. The effect of a gene that is easy for all maps
    # cancels in a difference of recalls, so its interval is narrower than from two bootstraps.
    tables: dict[str, list[pl.DataFrame]] = {}
    for source, known in pairs.items():
        of_maps = {name: recalls[source] for name, recalls in measured.items()}
        found = np.column_stack([of_map.found for of_map in of_maps.values()])
        resampled = resampled_recalls(found, known, resamples, seed)
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
    return {name: pl.concat(parts) for name, parts in tables.items()}


def p_of_difference(drawn: Float64[np.ndarray, " resamples"]) -> float:
    """Return the two-sided bootstrap p-value of a difference of recalls; never 0."""
    # The difference is NaN in resamples without any known pair.
    drawn = drawn[np.isfinite(drawn)]
    sides: Sequence[int] = (int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    return min(1.0, 2 * (1 + min(sides)) / (1 + len(drawn)))


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
