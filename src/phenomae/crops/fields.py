"""Which fields of a store crops are cut from, and how often: a filter and a balance."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl
from jaxtyping import Float64

from phenomae.row_filter import match_rows
from phenomae.store.read import Store


def keep_fields(store: Store, where: str | None) -> Store:
    """Return the store with only those fields of which the SQL expression holds.

    None keeps all. Raises ValueError as `where.match_rows`.
    """
    if where is None or store.fields.is_empty():
        return store
    kept = match_rows(store.fields, where, str(store.path))
    return replace(store, fields=store.fields.filter(kept))


def check_balance(stores: Sequence[Store], column: str) -> None:
    """Raise ValueError unless every store's fields have single values in a column."""
    for store in stores:
        if column not in store.fields.columns:
            raise ValueError(
                f"balance {column!r}: {store.path} has no such column; it has "
                f"{', '.join(store.fields.columns)}"
            )
        if store.fields[column].dtype.is_nested():
            raise ValueError(f"balance {column!r} holds lists: take a column of single values")


def balance(values: pl.Series) -> Float64[np.ndarray, " n"]:
    """Return how often to draw each field, so that every value comes as often as the others.

    Fields of one value share it evenly; fields without a value count as one value more.
    """
    value_of = values.rank("dense").fill_null(0).to_numpy()
    _, places, counts = np.unique(value_of, return_inverse=True, return_counts=True)
    return 1 / counts[places]
