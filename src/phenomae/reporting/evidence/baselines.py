"""Compares the recall of a map with that of its baselines and of permuted gene names.

Baselines of `benchmark` share the known pairs and the bootstrap of the map, so that differences
have intervals. Results of other maps (NAME=RESULTS) list which known pairs they recalled; where
these are the pairs of the map, the same bootstrap is done here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from phenomae.evaluation.annotations import ALL_SOURCES
from phenomae.evaluation.baseline_maps import (
    ORDER,
    SHUFFLED,
    kind_of,
    missing_kinds,
    name_baselines,
)
from phenomae.evaluation.recall.baselines import THESE, split_by
from phenomae.evaluation.recall.bootstrap import interval, resampled_recalls
from phenomae.evaluation.recall.recall import Percentiles
from phenomae.reporting.evidence.results import BenchmarkTables, at

Interval = tuple[float, float]


@dataclass(frozen=True)
class Entry:
    """The recall of one source on one map, and the recall of this map minus it."""

    name: str
    recall: float
    interval: Interval | None = None
    difference: float | None = None
    """None for this map."""
    difference_interval: Interval | None = None
    """None for this map, and for results of another map with other known pairs."""
    uneven: bool = False
    """Whether it is the recall of another number of known pairs than that of this map."""

    @property
    def kind(self) -> str:
        """The kind of a baseline; this map has none."""
        return "" if self.name == THESE else kind_of(self.name)


@dataclass(frozen=True)
class Comparison:
    """The recall of one source at one percentile pair, on every map that has it."""

    source: str
    percentiles: Percentiles
    entries: list[Entry]
    """This map first, then the others in the order of their kinds."""


def parse_baselines(texts: tuple[str, ...]) -> dict[str, Path]:
    """Return the results folders of the setting baseline (NAME=RESULTS) by name.

    Raises ValueError if a name or a folder is missing, or a name is repeated or reserved.
    """
    return name_baselines(texts, "NAME=RESULTS, like intensity=results/intensity")


def compare(results: BenchmarkTables, baselines: dict[str, BenchmarkTables]) -> list[Comparison]:
    """Compare results with their own baselines and with other results, per source.

    Other results are compared at the first percentile pair only; those without a source are not
    among its entries. All sources together come first, as the line on what was learned is of them.
    Raises ValueError if other results have no recall of any source at this percentile pair, or the
    name of a baseline in baselines.csv.
    """
    comparisons = _paired(results) if results.baselines is not None else _alone(results)
    main = results.percentiles[0]
    for name, other in baselines.items():
        if any(entry.name == name for part in comparisons for entry in part.entries):
            raise ValueError(f"baseline {name} is in the results already: choose another name")
        rows = _rows(other, results, name)
        comparisons = [
            _join(part, name, results, other, rows.get(part.source))
            if part.percentiles == main
            else part
            for part in comparisons
        ]
    ordered = [replace(part, entries=sorted(part.entries, key=_place)) for part in comparisons]
    # Only results with baselines have all sources together, if there are several.
    pooled = [part for part in ordered if part.source == ALL_SOURCES]
    return pooled + [part for part in ordered if part.source != ALL_SOURCES]


def find_missing(comparisons: list[Comparison]) -> dict[str, list[str]]:
    """Return the kinds of baselines that no comparison has, each with its names."""
    names = {entry.name for part in comparisons for entry in part.entries} - {THESE}
    return missing_kinds(sorted(names), shuffled=SHUFFLED in names)


def with_missing(part: Comparison, missing: Mapping[str, list[str]]) -> list[Entry | str]:
    """Return the entries of a comparison, and the `missing` kinds in their places."""
    rows: list[Entry | str] = [*part.entries, *missing]
    return sorted(rows, key=lambda row: ORDER.index(row) if isinstance(row, str) else _place(row))


def _place(entry: Entry) -> int:
    return ORDER.index(entry.kind) if entry.kind else -1


def _paired(results: BenchmarkTables) -> list[Comparison]:
    """Return the comparisons of baselines.csv."""
    assert results.baselines is not None
    comparisons = []
    for key, rows in split_by(results.baselines, ["source", "low", "high"]):
        entries = [
            Entry(
                row["map"],
                row["recall"],
                _interval(row, ""),
                row["difference"],
                _interval(row, "difference_"),
            )
            for row in rows.iter_rows(named=True)
        ]
        comparisons.append(Comparison(key["source"], (key["low"], key["high"]), entries))
    return comparisons


def _alone(results: BenchmarkTables) -> list[Comparison]:
    """Return this map and the mean of its null distribution, at the first percentile pair."""
    comparisons = []
    for row in results.main.iter_rows(named=True):
        entries = [Entry(THESE, row["recall"], _interval(row, ""))]
        if row["mean"] is not None:
            difference, own = row["recall"] - row["mean"], _interval(row, "")
            # The mean over permutations is one number, so that only this map's recall varies.
            paired = None if own is None else (own[0] - row["mean"], own[1] - row["mean"])
            entries.append(Entry(SHUFFLED, row["mean"], None, difference, paired))
        comparisons.append(Comparison(row["source"], results.percentiles[0], entries))
    return comparisons


def _interval(row: dict, before: str) -> Interval | None:
    low, high = row[f"{before}ci_low"], row[f"{before}ci_high"]
    return None if low is None or high is None else (low, high)


def _join(
    part: Comparison,
    name: str,
    results: BenchmarkTables,
    other: BenchmarkTables,
    row: dict | None,
) -> Comparison:
    """Add the recall of other results to a comparison, unless they do not have its source."""
    if row is None:
        return part
    own = results.main.row(by_predicate=pl.col("source") == part.source, named=True)
    entry = Entry(
        name,
        row["recall"],
        _interval(row, ""),
        own["recall"] - row["recall"],
        pair_interval(results, other, part.source),
        uneven=row["n_pairs"] != own["n_pairs"],
    )
    return replace(part, entries=[*part.entries, entry])


def pair_interval(results: BenchmarkTables, other: BenchmarkTables, source: str) -> Interval | None:
    """Return the 95 % CI of the difference of two recalls, from the same resamples of the genes.

    None if the two were benchmarked with other known pairs, percentiles or no bootstrap.
    """
    resamples, seed = (results.signature["settings"].get(key, 0) for key in ("resamples", "seed"))
    lists = [_list_pairs(tables, source) for tables in (results, other)]
    if not resamples or results.percentiles[0] != other.percentiles[0] or None in lists:
        return None
    one, two = ({} if pairs is None else pairs for pairs in lists)
    if one.keys() != two.keys():
        return None
    genes = {gene: number for number, gene in enumerate(sorted({g for pair in one for g in pair}))}
    known = np.array([[genes[gene] for gene in pair] for pair in one])
    found = np.array([[one[pair], two[pair]] for pair in one])
    drawn = resampled_recalls(found, known, resamples, seed)
    return interval(drawn[:, 0] - drawn[:, 1])


def _list_pairs(tables: BenchmarkTables, source: str) -> dict[tuple[str, str], bool] | None:
    """Return whether each known pair of a source was recalled; None if that is not listed."""
    if tables.known is None:
        return None
    rows = tables.known.filter(pl.col("source") == source)
    pairs = zip(rows["entity1"], rows["entity2"], rows["recalled"], strict=True)
    # The order of two genes is that of the rows of the map, which may differ between maps.
    return {(min(one, two), max(one, two)): recalled for one, two, recalled in pairs}


def _rows(other: BenchmarkTables, results: BenchmarkTables, name: str) -> dict[str, dict]:
    """Return a baseline's rows by source.

    Only the first percentile pair of `results` is compared. If the recall.csv of a baseline does
    not have this percentile pair, its curve.csv may, which has 1 % to 50 %.
    """
    low, high = results.percentiles[0]
    # The rows of curve.csv have no interval.
    both = at(pl.concat([other.recall, other.curve], how="diagonal"), (low, high))
    # Reversed, so that a row of recall.csv replaces the row of curve.csv for the same source.
    rows = {row["source"]: row for row in reversed(both.rows(named=True))}
    shared = set(rows) & set(results.main["source"])
    if not shared:
        raise ValueError(
            f"baseline {name} has no recall to compare with the results: benchmark it with the "
            f"same annotations, low {low} and high {high}"
        )
    return rows
