"""Compares the recall of a map with that of its baselines and of permuted gene names.

Baselines of `benchmark` share the known pairs and the bootstrap of the map, so that differences
have intervals; results of other maps (NAME=RESULTS) have a recall, and a difference without.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

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
from phenomae.evaluation.recall.recall import Percentiles
from phenomae.explore.evidence.results import BenchmarkTables, at

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
    """None for this map, and for results of other maps, whose resamples are not known."""
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
            _join(part, name, results, rows.get(part.source)) if part.percentiles == main else part
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
            difference = row["recall"] - row["mean"]
            entries.append(Entry(SHUFFLED, row["mean"], difference=difference))
        comparisons.append(Comparison(row["source"], results.percentiles[0], entries))
    return comparisons


def _interval(row: dict, before: str) -> Interval | None:
    low, high = row[f"{before}ci_low"], row[f"{before}ci_high"]
    return None if low is None or high is None else (low, high)


def _join(part: Comparison, name: str, results: BenchmarkTables, row: dict | None) -> Comparison:
    """Add the recall of other results to a comparison, unless they do not have its source."""
    if row is None:
        return part
    own = results.main.row(by_predicate=pl.col("source") == part.source, named=True)
    entry = Entry(
        name,
        row["recall"],
        _interval(row, ""),
        own["recall"] - row["recall"],
        uneven=row["n_pairs"] != own["n_pairs"],
    )
    return replace(part, entries=[*part.entries, entry])


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
