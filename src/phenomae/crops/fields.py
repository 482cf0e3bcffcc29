"""Selects the fields of a store (`--where`) and computes their sampling weights.

Weights come from the values of a column (`--balance`) or from a table (`--sample-by`).
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Float64

from phenomae.progress import info
from phenomae.row_filter import match_rows
from phenomae.store.read import Store

_WEIGHT = "weight"


def keep_fields(store: Store, where: str | None) -> Store:
    """Return the store with only the fields for which the SQL expression `where` is true.

    Prints the number of remaining fields. With None the store is returned unchanged and nothing is
    printed. Raises ValueError as `row_filter.match_rows` does.
    """
    # match_rows raises if no row matches; for a store without fields its error would be misleading.
    if where is None or store.fields.is_empty():
        return store
    kept = match_rows(store.fields, where, str(store.path))
    info(f"{store.path}: where {where!r} keeps {kept.sum()} of {len(kept)} fields")
    return replace(store, fields=store.fields.filter(kept))


def check_balance(stores: Sequence[Store], column: str) -> None:
    """Raise ValueError unless every store's table has the column, and the column has no lists."""
    for store in stores:
        if column not in store.fields.columns:
            raise ValueError(
                f"balance {column!r}: {store.path} has no such column; it has "
                f"{', '.join(store.fields.columns)}"
            )
        if store.fields[column].dtype.is_nested():
            raise ValueError(f"balance {column!r} has lists: name a column of single values")


def balance(values: pl.Series) -> Float64[np.ndarray, " n"]:
    """Return sampling weights with which every value of a column is drawn equally often.

    The weight of a field is 1 / (number of fields with the same value). Null counts as a value.
    """
    # Dense ranks start at 1, so 0 is free for null.
    value_of = values.rank("dense").fill_null(0).to_numpy()
    _, places, counts = np.unique(value_of, return_inverse=True, return_counts=True)
    return 1 / counts[places]


def read_weights(path: Path, fields: pl.DataFrame) -> Float64[np.ndarray, " n"]:
    """Return the sampling weight of each field from a CSV table.

    The table has the column weight and one or more columns of `fields`, such as gene or plate, by
    which its rows are matched; fields without a row have weight 0. Prints the number of fields with
    a weight. Raises ValueError if the table cannot be used or no field has a weight above 0.
    """
    table = _read_weight_table(path, fields.columns)
    keys = [name for name in table.columns if name != _WEIGHT]
    # As text, because CSV has no types: a plate may be 7 here and "7" in the store.
    found = fields.select(pl.col(keys).cast(pl.String)).join(
        table, on=keys, how="left", maintain_order="left", nulls_equal=True
    )
    weights = found[_WEIGHT].fill_null(0.0).to_numpy()
    if not weights.any():
        raise ValueError(
            f"{path}: no field has a weight above 0; fields have {', '.join(keys)} like "
            f"{', '.join(map(str, found.select(keys).row(0)))}"
        )
    info(f"{path}: {(weights > 0).sum()} of {len(weights)} fields have a weight above 0")
    return weights


def _read_weight_table(path: Path, columns: Sequence[str]) -> pl.DataFrame:
    """Read and check the table of `read_weights`: key columns as text, weight as numbers."""
    try:
        table = pl.read_csv(path, infer_schema=False)
    except FileNotFoundError:
        raise ValueError(f"sample_by: there is no file {path}") from None
    except pl.exceptions.PolarsError as error:
        raise ValueError(f"{path} is not a CSV table: {error}") from None
    keys = [name for name in table.columns if name != _WEIGHT]
    unknown = [name for name in keys if name not in columns]
    if _WEIGHT not in table.columns or not keys or unknown:
        raise ValueError(
            f"{path} has the columns {', '.join(table.columns)}: expected weight and one or more "
            f"of {', '.join(columns)}"
        )
    numbers = table[_WEIGHT].cast(pl.Float64, strict=False)
    wrong = ~(numbers.is_finite() & (numbers >= 0)).fill_null(False)
    if wrong.any():
        raise ValueError(
            f"{path}: weight must be a number of at least 0, not {table.filter(wrong)[_WEIGHT][0]}"
        )
    if table.select(keys).is_duplicated().any():
        row = table.filter(table.select(keys).is_duplicated()).select(keys).row(0)
        raise ValueError(f"{path} has two rows for {', '.join(map(str, row))}: keep one")
    return table.with_columns(numbers)
