"""Reads and checks the results of `benchmark`."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from phenomae.evaluation.benchmark import KIND
from phenomae.evaluation.learned import (
    BASELINES_FILE,
    LEARNED_FILE,
    read_baselines,
    read_learned,
)
from phenomae.evaluation.recall.precision import PRECISION, PRECISION_FILE
from phenomae.evaluation.recall.recall import Percentiles
from phenomae.evaluation.recall.tables import (
    CURVE,
    KNOWN_PAIRS,
    KNOWN_PAIRS_FILE,
    RECALL,
    SHUFFLED,
    read_results_table,
)
from phenomae.signatures import read_verified

_KEY = ["source", "low", "high"]


@dataclass(frozen=True)
class BenchmarkTables:
    """The tables of one benchmarked map."""

    recall: pl.DataFrame
    """recall.csv, with `mean`, `sd` and `n` of shuffled.csv (null if there is no shuffled.csv)."""
    curve: pl.DataFrame
    """curve.csv."""
    signature: dict[str, Any]
    baselines: pl.DataFrame | None = None
    """baselines.csv; None if the map was benchmarked without baselines."""
    learned: str | None = None
    """The line of learned.json on what was learned; None without baselines."""
    precision: pl.DataFrame | None = None
    """precision.csv; None if the map has too few genes, or in results of an earlier version."""
    known: pl.DataFrame | None = None
    """known_pairs.csv; None in results of an earlier version."""

    @property
    def percentiles(self) -> list[Percentiles]:
        """Percentile pairs in the order of recall.csv; baselines are compared at the first."""
        return self.recall.select("low", "high").unique(maintain_order=True).rows()

    @property
    def main(self) -> pl.DataFrame:
        """The rows of the first percentile pair, one per source."""
        return at(self.recall, self.percentiles[0])

    @property
    def has_intervals(self) -> bool:
        """Whether every recall has a confidence interval."""
        return not self.recall["ci_low"].has_nulls()

    @property
    def shuffles(self) -> int:
        """Number of permutations of the names; 0 if there is no null distribution."""
        # All rows have the same number, or null.
        return self.recall["n"].fill_null(0).max()  # pyright: ignore[reportReturnType]


def at(table: pl.DataFrame, percentiles: Percentiles) -> pl.DataFrame:
    """Return the rows of a table for one percentile pair."""
    low, high = percentiles
    return table.filter(pl.col("low") == low, pl.col("high") == high)


def read_results(folder: Path) -> BenchmarkTables:
    """Read a finished results folder.

    Raises ValueError if the folder holds no results or one of its files is damaged.
    """
    signature = read_verified(folder, KIND)
    recall = read_results_table(folder / "recall.csv", RECALL)
    if (folder / "shuffled.csv").exists():
        shuffled = read_results_table(folder / "shuffled.csv", SHUFFLED)
    else:
        shuffled = pl.DataFrame(schema=SHUFFLED)
    # A left join keeps the rows of recall.csv for which there is no null distribution.
    joined = recall.join(shuffled, on=_KEY, how="left", maintain_order="left")
    curve = read_results_table(folder / "curve.csv", CURVE)
    precision = _read_if_there(folder / PRECISION_FILE, PRECISION)
    known = _read_if_there(folder / KNOWN_PAIRS_FILE, KNOWN_PAIRS)
    tables = BenchmarkTables(joined, curve, signature, precision=precision, known=known)
    # With one of the two files the other is damaged or missing, which is an error.
    if not any((folder / name).exists() for name in (BASELINES_FILE, LEARNED_FILE)):
        return tables
    learned = read_learned(folder)
    return replace(tables, baselines=read_baselines(folder), learned=learned.line)


def _read_if_there(path: Path, columns: dict[str, pl.DataType]) -> pl.DataFrame | None:
    return read_results_table(path, columns) if path.exists() else None
