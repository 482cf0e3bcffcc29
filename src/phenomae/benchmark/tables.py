"""The tables of the results: how recall is written down and shown."""

from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Float64, Int

from phenomae.benchmark.recall import Percentiles

_SHARES = ("recall", "shuffled", "+-")  # columns shown with four decimals


def recall_table(
    source: str,
    percentiles: list[Percentiles],
    recalls: Float64[np.ndarray, " t"],
    known: Int[np.ndarray, "pairs 2"],
) -> pl.DataFrame:
    """Return the rows of recall.csv for one source."""
    return pl.DataFrame(
        {
            "source": [source] * len(percentiles),
            "low": [low for low, _ in percentiles],
            "high": [high for _, high in percentiles],
            "recall": recalls,
            "n_pairs": [len(known)] * len(percentiles),
            "n_genes": [len(np.unique(known))] * len(percentiles),
            "chance": [round(min(1.0, low + 1 - high), 12) for low, high in percentiles],
        }
    )


def shuffled_table(
    source: str, percentiles: list[Percentiles], recalls: Float64[np.ndarray, "shuffles t"]
) -> pl.DataFrame:
    """Return the rows of shuffled.csv for one source; one shuffle alone has no spread."""
    shuffles = len(recalls)
    return pl.DataFrame(
        {
            "source": [source] * len(percentiles),
            "low": [low for low, _ in percentiles],
            "high": [high for _, high in percentiles],
            "mean": recalls.mean(axis=0),
            "sd": recalls.std(axis=0, ddof=1) if shuffles > 1 else [None] * len(percentiles),
            "n": [shuffles] * len(percentiles),
        },
        schema_overrides={"sd": pl.Float64},
    )


def print_table(results: Path) -> None:
    """Print recall.csv, and beside it what shuffled names gave, on standard output."""
    table = pl.read_csv(results / "recall.csv")
    if (results / "shuffled.csv").exists():
        shuffled = pl.read_csv(results / "shuffled.csv", schema_overrides={"sd": pl.Float64})
        table = table.join(
            shuffled.drop("n").rename({"mean": "shuffled", "sd": "+-"}),
            on=["source", "low", "high"],
            maintain_order="left",
        )
    columns = {
        name: [
            f"{value:.4f}" if name in _SHARES and value is not None else f"{value}"
            for value in table[name]
        ]
        for name in table.columns
    }
    cells = [[name, *column] for name, column in columns.items()]
    widths = [max(map(len, column)) for column in cells]
    for row in zip(*cells, strict=True):
        first, *rest = (text.rjust(width) for text, width in zip(row, widths, strict=True))
        print("  ".join([first.strip().ljust(widths[0]), *rest]))
