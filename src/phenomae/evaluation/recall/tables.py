"""Result tables of `benchmark`: their columns, and how they are read and printed."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Bool, Float64, Int

from phenomae.evaluation.recall.recall import Percentiles
from phenomae.print_table import show

CURVE: dict[str, pl.DataType] = {
    "source": pl.String(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "recall": pl.Float64(),
    "n_pairs": pl.Int64(),
    "n_genes": pl.Int64(),
    "chance": pl.Float64(),
}
RECALL: dict[str, pl.DataType] = {
    **CURVE,
    "ci_low": pl.Float64(),
    "ci_high": pl.Float64(),
    "p": pl.Float64(),
}
KNOWN_PAIRS_FILE = "known_pairs.csv"
KNOWN_PAIRS: dict[str, pl.DataType] = {
    "source": pl.String(),
    "entity1": pl.String(),
    "entity2": pl.String(),
    "cosine": pl.Float64(),
    "recalled": pl.Boolean(),
}
SHUFFLED: dict[str, pl.DataType] = {
    "source": pl.String(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "mean": pl.Float64(),
    "sd": pl.Float64(),
    "n": pl.Int64(),
}


def recall_table(
    source: str,
    percentiles: list[Percentiles],
    recalls: Float64[np.ndarray, " t"],
    known: Int[np.ndarray, "pairs 2"],
    limits: list[tuple[float, float]],
    p: list[float],
) -> pl.DataFrame:
    """Return the rows of recall.csv for one source.

    Confidence limits are null if `limits` is empty or a limit is NaN, p-values if `p` is empty.
    """
    table = curve_table(source, percentiles, recalls, known)
    columns = {
        "ci_low": [low for low, _ in limits],
        "ci_high": [high for _, high in limits],
        "p": p,
    }
    return table.with_columns(
        pl.Series(name, values or [None] * len(table), dtype=pl.Float64).fill_nan(None)
        for name, values in columns.items()
    )


def curve_table(
    source: str,
    percentiles: list[Percentiles],
    recalls: Float64[np.ndarray, " t"],
    known: Int[np.ndarray, "pairs 2"],
) -> pl.DataFrame:
    """Return the rows of curve.csv for one source."""
    return pl.DataFrame(
        {
            "source": [source] * len(percentiles),
            "low": [low for low, _ in percentiles],
            "high": [high for _, high in percentiles],
            "recall": recalls,
            "n_pairs": [len(known)] * len(percentiles),
            "n_genes": [len(np.unique(known))] * len(percentiles),
            # Rounded, because 0.05 + 1 - 0.95 is 0.10000000000000009 in floating point.
            "chance": [round(min(1.0, low + 1 - high), 12) for low, high in percentiles],
        }
    )


def known_pairs_table(
    source: str,
    names: Sequence[str],
    known: Int[np.ndarray, "pairs 2"],
    cosines: Float64[np.ndarray, " pairs"],
    recalled: Bool[np.ndarray, " pairs"],
) -> pl.DataFrame:
    """Return the rows of known_pairs.csv for one source; `names` are those of the map's rows."""
    name = pl.Series(names, dtype=pl.String)
    columns = [source, name[known[:, 0]], name[known[:, 1]], cosines, recalled]
    return pl.DataFrame(dict(zip(KNOWN_PAIRS, columns, strict=True)), KNOWN_PAIRS)


def shuffled_table(
    source: str, percentiles: list[Percentiles], recalls: Float64[np.ndarray, "shuffles t"]
) -> pl.DataFrame:
    """Return the rows of shuffled.csv for one source; `sd` is null for a single permutation."""
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


def read_results_table(path: Path, columns: dict[str, pl.DataType]) -> pl.DataFrame:
    """Read one result table.

    Raises ValueError if the file is missing, damaged, without rows or of an earlier version.
    """
    try:
        # Given the types, because polars reads a column of empty cells as text.
        table = pl.read_csv(path, schema_overrides=columns, glob=False)
    except (pl.exceptions.PolarsError, FileNotFoundError):
        table = pl.DataFrame(schema=columns)
    first, *_ = columns
    lacking = [name for name in columns if name not in table.columns]
    # A table of any version begins with the same column; others are no table of ours.
    if lacking and first not in lacking and len(table):
        raise ValueError(
            f"{path} lacks the columns {' '.join(lacking)}, so it was made by an earlier version "
            f"of phenomae: make {path.parent} again with overwrite"
        )
    if lacking or table.is_empty():
        raise ValueError(
            f"{path} is missing or damaged: expected rows with the columns {' '.join(columns)}; "
            f"make {path.parent} again with overwrite"
        )
    return table.select(list(columns))


def print_table(results: Path) -> None:
    """Print recall.csv, with mean and sd of the null distribution if shuffled.csv exists.

    Raises ValueError if one of the two files is damaged, or recall.csv is missing.
    """
    table = read_results_table(results / "recall.csv", RECALL)
    if (results / "shuffled.csv").exists():
        shuffled = read_results_table(results / "shuffled.csv", SHUFFLED)
        table = table.join(
            shuffled.drop("n").rename({"mean": "shuffled", "sd": "+-"}),
            on=["source", "low", "high"],
            maintain_order="left",
        )
    show_filled(table)


def show_filled(table: pl.DataFrame) -> None:
    """Print a table without the columns that have no value, such as p without permutations."""
    # They would make the table too wide.
    show(table.select(column for column in table if column.null_count() < len(column)))
