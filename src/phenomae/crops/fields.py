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
from phenomae.row_filter import match_rows, shorten_condition
from phenomae.store.read import Store

_WEIGHT = "weight"


def keep_fields(store: Store, where: str | None) -> Store:
    """Return the store with only the fields for which the condition `where` is true.

    Prints the number of remaining fields. With None the store is returned unchanged and nothing is
    printed. Raises ValueError as `row_filter.match_rows` does.
    """
    # match_rows raises if no row matches; for a store without fields its error would be misleading.
    if where is None or store.fields.is_empty():
        return store
    kept = match_rows(store.fields, where, str(store.path))
    shown = shorten_condition(where)
    info(f"{store.path}: where {shown!r} keeps {kept.sum()} of {len(kept)} fields")
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
    a weight, and of rows without a field. Raises ValueError if the table cannot be used or no field
    has a weight above 0.
    """
    table = _read_weight_table(path, fields)
    keys = [name for name in table.columns if name != _WEIGHT]
    found = fields.select(keys).join(
        table, on=keys, how="left", maintain_order="left", nulls_equal=True
    )
    weights = found[_WEIGHT].fill_null(0.0).to_numpy()
    unused = table.join(fields, on=keys, how="anti", nulls_equal=True)
    if len(unused):
        info(
            f"{path}: {len(unused)} of {len(table)} rows match no field, like that of "
            f"{_join(unused.select(keys).row(0))}"
        )
    if not weights.any():
        raise ValueError(
            f"{path}: no field has a weight above 0; fields have {_join(keys)} like "
            f"{_join(found.select(keys).row(0))}"
        )
    info(f"{path}: {(weights > 0).sum()} of {len(weights)} fields have a weight above 0")
    return weights / weights.max()  # so that no sum of weights is infinite


def _read_weight_table(path: Path, fields: pl.DataFrame) -> pl.DataFrame:
    """Read and check the table of `read_weights`, with the types of the columns of `fields`."""
    if not path.is_file():
        raise ValueError(f"sample_by: there is no file {path}")
    try:
        # As bytes: a name with brackets would be a pattern to polars.
        table = pl.read_csv(path.read_bytes(), infer_schema=False)
    except pl.exceptions.PolarsError as error:
        raise ValueError(f"{path} is not a CSV table: {error}") from None
    single = [name for name, kind in fields.schema.items() if not kind.is_nested()]
    keys = [name for name in table.columns if name != _WEIGHT]
    if _WEIGHT not in table.columns or not keys or not set(keys) <= set(single):
        raise ValueError(
            f"{path} has the columns {_join(table.columns)}: expected weight and one or more "
            f"of {_join(single)}"
        )
    numbers = table[_WEIGHT].cast(pl.Float64, strict=False)
    wrong = ~(numbers.is_finite() & (numbers >= 0)).fill_null(False)
    if wrong.any():
        raise ValueError(
            f"{path}: weight must be a number of at least 0, not {table.filter(wrong)[_WEIGHT][0]}"
        )
    typed = table.select(numbers, *(_cast(path, table[name], fields[name]) for name in keys))
    if typed.select(keys).is_duplicated().any():
        row = typed.filter(typed.select(keys).is_duplicated()).select(keys).row(0)
        raise ValueError(f"{path} has two rows for {_join(row)}: keep one")
    return typed


def _cast(path: Path, texts: pl.Series, column: pl.Series) -> pl.Series:
    """Return text of a CSV file with the type of a column; empty text is null."""
    kind = column.dtype
    if kind == pl.Boolean:
        truths = {"true": True, "1": True, "false": False, "0": False}
        values = texts.str.to_lowercase().replace_strict(
            truths, default=None, return_dtype=pl.Boolean
        )
    elif kind.is_integer():
        values = texts.cast(pl.Float64, strict=False).cast(kind, strict=False)
        # 1.0 is 1, and 1.5 is no whole number.
        values = values.set(values != texts.cast(pl.Float64, strict=False), None)
    else:
        values = texts.cast(kind, strict=False)
    wrong = values.is_null() & texts.is_not_null()
    if wrong.any():
        rule = "true or false" if kind == pl.Boolean else "a number like those of the store"
        raise ValueError(f"{path}: {texts.name} must be {rule}, not {texts.filter(wrong)[0]}")
    return values


def _join(words: Sequence[object]) -> str:
    return ", ".join(map(str, words))
