"""Checks tables of profiles that other software computed, before they are written as wells."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from phenomae.control_words import has_labels, parse_controls
from phenomae.missing_features import choose_complete
from phenomae.parquet_tables import as_text
from phenomae.records import (
    LABEL_COLUMNS,
    METADATA,
    WELL_COLUMNS,
    cast_columns,
    drop_nan,
    find_twice,
    normalize_well,
)
from phenomae.tidy_text import empty_cells, tidy_text


def check_records(table: pl.DataFrame, features: Sequence[str], empty_words: str) -> pl.DataFrame:
    """Return the columns of `WELL_COLUMNS`, checked, and those called `Metadata_...`.

    Columns of `WELL_COLUMNS` that `table` lacks are empty.

    `empty_words` and the errors are those of `wells.write_wells`.
    """
    table = _drop_words(table, empty_words)
    if missing := [
        name for name in ("plate", "well", "control", *features) if name not in table.columns
    ]:
        is_marked = f"{METADATA}{missing[0]}".lower() in map(str.lower, table.columns)
        hint = (
            f"; import_profiles reads tables with {METADATA}Plate and the like" if is_marked else ""
        )
        raise ValueError(
            f"the table of wells lacks the columns {missing}; it has {table.columns}{hint}"
        )
    counts = Counter([*WELL_COLUMNS, *features])
    if twice := [name for name, count in counts.items() if count > 1]:
        raise ValueError(f"features names {twice[0]!r}, which is there already: name each once")
    table = _parse_control(table)
    for name in ("plate", "well", "control"):
        if table[name].has_nulls():
            raise ValueError(f"the table of wells has empty cells in the column {name!r}")
    absent = [pl.lit(None).alias(name) for name in WELL_COLUMNS if name not in table.columns]
    extra = {
        name: kind
        for name, kind in table.schema.items()
        if name.startswith(METADATA) and name not in features
    }
    # A float column of plates 41 and 42 is not of plates called 41.0.
    numbers = [
        as_text(table[name])
        for name, kind in WELL_COLUMNS.items()
        if kind == pl.String and name in table.columns and table.schema[name].is_float()
    ]
    table = table.with_columns(numbers)
    cast = cast_columns(table.with_columns(absent), WELL_COLUMNS | extra, "the table of wells")
    records = tidy_text(drop_nan(cast), "the table of wells").with_columns(
        # A1, a01 and A-01 are the same well: normalised names show that a well occurs twice.
        pl.col("well").map_elements(normalize_well, return_dtype=pl.String),
        pl.coalesce("perturbation", "guide", "gene", "compound"),
    )
    if (well := find_twice(records)) is not None:
        raise ValueError(
            f"the table of wells has plate {well[0]!r}, well {well[1]!r} twice: "
            "expected one row per well"
        )
    return records


def leave_out_missing(
    records: pl.DataFrame, vectors: pl.DataFrame, max_missing: float
) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, Any]]:
    """Return the wells and features of `choose_complete`, and what is recorded of the others."""
    values = vectors.to_numpy()
    if np.isfinite(values).all():
        return records, vectors, {}
    chosen = choose_complete(records, np.isfinite(values), vectors.columns, max_missing)
    names = records.filter(~chosen.wells).select(pl.concat_str("plate", "well", separator=" "))
    left_out = {
        "max_missing": max_missing,
        "left_out_features": chosen.left_out,
        "left_out_wells": names.to_series().to_list(),
    }
    kept = vectors.select(chosen.features).filter(chosen.wells)
    return records.filter(chosen.wells), kept, left_out


def _drop_words(table: pl.DataFrame, words: str) -> pl.DataFrame:
    """Return the table with null for words that stand for empty cells in columns of labels."""
    text = table.select(name for name in LABEL_COLUMNS if table.schema.get(name) == pl.String)
    return table.with_columns(empty_cells(text, words.split(","), "the table of wells"))


def _parse_control(table: pl.DataFrame) -> pl.DataFrame:
    """Return the table with the words of its column `control` as true and false."""
    if table["control"].dtype == pl.Boolean:
        return table
    table = table.with_columns(as_text(table["control"]))
    text = pl.col("control").str.strip_chars()
    words = table.select(pl.when(text.str.len_chars() > 0).then(text)).to_series()
    # An empty cell among true and false is a mistake, but among JUMP's labels a treated well.
    if words.has_nulls() and not has_labels(words):
        return table.with_columns(control=words)
    try:
        return table.with_columns(control=parse_controls(words))
    except ValueError as error:
        raise ValueError(f"the table of wells: control has {error}") from None
