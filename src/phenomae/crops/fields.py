"""Selects the fields of a store (`--where`) and computes their sampling weights (`--balance`)."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl
from jaxtyping import Float64

from phenomae.progress import info
from phenomae.row_filter import match_rows
from phenomae.store.read import Store


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
