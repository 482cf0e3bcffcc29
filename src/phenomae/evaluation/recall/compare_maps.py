"""Maps side by side: the same genes, the same known pairs, the same resamples."""

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
class Asked:
    """How a map answered about one source."""

    recall: float
    curve: Float64[np.ndarray, " t"]
    """At the percentile pairs of `relationships.STEPS`."""
    found: Bool[np.ndarray, " pairs"]


def share_genes(maps: dict[str, ConsensusProfiles]) -> dict[str, ConsensusProfiles]:
    """Return the maps with only the names that all have, in the same order."""
    common = sorted(set.intersection(*(set(genes.names) for genes in maps.values())))
    shared = {}
    for name, genes in maps.items():
        row = {gene: place for place, gene in enumerate(genes.names)}
        rows = [row[gene] for gene in common]
        shared[name] = replace(
            genes, names=common, features=genes.features[rows], obs=genes.obs[rows]
        )
    return shared


def ask(
    genes: ConsensusProfiles, pairs: dict[str, Pairs], percentiles: Percentiles
) -> dict[str, Asked]:
    """Return a map's answers about every source."""
    unit = unit_rows(genes.features)
    every = np.concatenate(list(pairs.values()))
    tails, cosines = find_tails(unit, [percentiles, *STEPS], every)
    answers, start = {}, 0
    for source, known in pairs.items():
        of_source = cosines[start : start + len(known)]
        start += len(known)
        recalls = tails.recall(of_source)
        answers[source] = Asked(float(recalls[0]), recalls[1:], tails.hold(of_source, 0))
    return answers


def set_side_by_side(
    answers: dict[str, dict[str, Asked]],
    pairs: dict[str, Pairs],
    percentiles: Percentiles,
    resamples: int,
    seed: int,
) -> dict[str, pl.DataFrame]:
    """Return recall.csv, curve.csv and differences.csv of maps, by name, that share their rows.

    Resample k draws the same genes for every map, so that what makes a gene easy for all of them
    falls out of their differences.
    """
    tables: dict[str, list[pl.DataFrame]] = {}
    for source, known in pairs.items():
        of_maps = {name: answer[source] for name, answer in answers.items()}
        found = np.column_stack([asked.found for asked in of_maps.values()])
        resampled = resampled_recalls(found, known, resamples, seed)
        for (name, asked), column in zip(of_maps.items(), resampled.T, strict=True):
            recalls = np.array([asked.recall])
            row = recall_table(source, [percentiles], recalls, known, [interval(column)], [])
            tables.setdefault("recall.csv", []).append(_label(name, row.drop("p")))
            curve = curve_table(source, STEPS, asked.curve, known)
            tables.setdefault("curve.csv", []).append(_label(name, curve))
        for (first, one), (second, other) in combinations(enumerate(of_maps), 2):
            difference = of_maps[other].recall - of_maps[one].recall
            drawn = resampled[:, second] - resampled[:, first]
            row = _difference_row(source, (one, other), difference, drawn)
            tables.setdefault("differences.csv", []).append(row)
    return {name: pl.concat(parts) for name, parts in tables.items()}


def p_of_difference(drawn: Float64[np.ndarray, " resamples"]) -> float:
    """Return how often resampled differences lie on the other side of 0, two-sided, never 0."""
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
