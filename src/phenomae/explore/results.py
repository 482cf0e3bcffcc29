"""The results of a benchmark, read and checked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from phenomae.artefacts import read_signature
from phenomae.benchmark.benchmark import KIND
from phenomae.benchmark.recall import Percentiles

_RECALL: dict[str, pl.DataType] = {
    "source": pl.String(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "recall": pl.Float64(),
    "n_pairs": pl.Int64(),
    "n_genes": pl.Int64(),
    "chance": pl.Float64(),
}
_SHUFFLED: dict[str, pl.DataType] = {
    "source": pl.String(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "mean": pl.Float64(),
    "sd": pl.Float64(),
    "n": pl.Int64(),
}
_KEY = ["source", "low", "high"]


@dataclass(frozen=True)
class Results:
    """What `benchmark` found out about one map."""

    recall: pl.DataFrame
    """recall.csv, beside it `mean`, `sd` and `n` of the shuffles; empty where there were none."""
    curve: pl.DataFrame
    """curve.csv."""
    signature: dict[str, Any]

    @property
    def percentiles(self) -> list[Percentiles]:
        """The percentile pairs of recall.csv, in its order; the first is the main one."""
        return self.recall.select("low", "high").unique(maintain_order=True).rows()

    @property
    def main(self) -> pl.DataFrame:
        """The rows of the first percentile pair, one a source."""
        return at(self.recall, self.percentiles[0])

    @property
    def shuffles(self) -> int:
        """How often names were shuffled."""
        return self.recall["n"].fill_null(0).max()  # pyright: ignore[reportReturnType]


def at(table: pl.DataFrame, percentiles: Percentiles) -> pl.DataFrame:
    """Return the rows of one percentile pair."""
    low, high = percentiles
    return table.filter(pl.col("low") == low, pl.col("high") == high)


def read_results(folder: Path) -> Results:
    """Read a finished results folder; raises ValueError where it is none or a file is damaged."""
    signature = read_signature(folder, KIND)
    recall = _read(folder / "recall.csv", _RECALL)
    if (folder / "shuffled.csv").exists():
        shuffled = _read(folder / "shuffled.csv", _SHUFFLED)
    else:
        shuffled = pl.DataFrame(schema=_SHUFFLED)
    joined = recall.join(shuffled, on=_KEY, how="left", maintain_order="left")
    return Results(joined, _read(folder / "curve.csv", _RECALL), signature)


def _read(path: Path, columns: dict[str, pl.DataType]) -> pl.DataFrame:
    try:
        table = pl.read_csv(path, schema_overrides=columns).select(list(columns))
    except (pl.exceptions.PolarsError, FileNotFoundError):
        table = pl.DataFrame(schema=columns)
    if table.is_empty():
        raise ValueError(
            f"{path} is missing or damaged: expected rows with the columns {' '.join(columns)}; "
            "make the results anew with benchmark --overwrite"
        )
    return table
