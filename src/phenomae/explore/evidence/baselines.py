"""Compares the recall of a map with the recall of other maps and of permuted gene names."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from phenomae.evaluation.baseline_maps import name_baselines
from phenomae.explore.evidence.results import BenchmarkTables, at

THIS_MAP = "this map"
SHUFFLED = "shuffled names"


@dataclass(frozen=True)
class Entry:
    """The recall of one source on one map, or on this map with permuted names."""

    name: str
    recall: float
    sd: float | None
    """Standard deviation of recall over the permutations; None for a map."""
    n_pairs: int
    chance: float
    ratio: float | None
    """Recall divided by the recall of this map; None if the latter is 0."""


@dataclass(frozen=True)
class Comparison:
    """The recall of one source on every map that was benchmarked with this source."""

    source: str
    entries: list[Entry]
    """This map first, then baselines, then permuted names if there is a null distribution."""


def parse_baselines(texts: tuple[str, ...]) -> dict[str, Path]:
    """Return the results folders of the setting baseline (NAME=RESULTS) by name.

    Raises ValueError if a name or a folder is missing, or a name is repeated or reserved.
    """
    form = "NAME=RESULTS, like intensity=results/intensity"
    return name_baselines(texts, form, reserved=(THIS_MAP, SHUFFLED))


def compare(results: BenchmarkTables, baselines: dict[str, BenchmarkTables]) -> list[Comparison]:
    """Compare results with baselines, per source, at the first percentile pair of the results.

    A baseline that was not benchmarked with a source is not among its entries. Raises ValueError if
    a baseline has no recall of any source at this percentile pair.
    """
    others = {name: _rows(other, results, name) for name, other in baselines.items()}
    comparisons = []
    for own in results.main.iter_rows(named=True):
        source = own["source"]
        rows = {THIS_MAP: own, **{name: table.get(source) for name, table in others.items()}}
        entries = [
            Entry(
                name,
                row["recall"],
                None,
                row["n_pairs"],
                row["chance"],
                _ratio(row["recall"], own["recall"]),
            )
            for name, row in rows.items()
            if row is not None
        ]
        if own["mean"] is not None:
            ratio = _ratio(own["mean"], own["recall"])
            entries.append(
                Entry(SHUFFLED, own["mean"], own["sd"], own["n_pairs"], own["chance"], ratio)
            )
        comparisons.append(Comparison(source, entries))
    return comparisons


def _rows(other: BenchmarkTables, results: BenchmarkTables, name: str) -> dict[str, dict]:
    """Return a baseline's rows by source.

    Only the first percentile pair of `results` is compared. If the recall.csv of a baseline does
    not have this percentile pair, its curve.csv may, which has 1 % to 50 %.
    """
    low, high = results.percentiles[0]
    columns = other.curve.columns
    # recall.csv has more columns than curve.csv; only the common columns are concatenated.
    both = at(pl.concat([other.recall.select(columns), other.curve]), (low, high))
    # Reversed, so that a row of recall.csv replaces the row of curve.csv for the same source.
    rows = {row["source"]: row for row in reversed(both.rows(named=True))}
    shared = set(rows) & set(results.main["source"])
    if not shared:
        raise ValueError(
            f"baseline {name} has no recall to compare with the results: benchmark it with the "
            f"same annotations, low {low} and high {high}"
        )
    return rows


def _ratio(recall: float, own: float) -> float | None:
    return recall / own if own else None
