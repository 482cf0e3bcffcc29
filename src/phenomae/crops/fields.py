"""Which fields of a store are used (`--where`), and how often each is drawn (`--balance`)."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl
from jaxtyping import Float64

from phenomae.progress import info
from phenomae.row_filter import match_rows
from phenomae.store.read import Store


def keep_fields(store: Store, where: str | None) -> Store:
    """Return the store with only those fields for which the SQL expression is true.

    The number of fields that are kept is printed. None keeps all and prints nothing. Raises
    ValueError as `row_filter.match_rows` does.
    """
    # match_rows refuses to leave nothing, which would blame `where` for a store without fields.
    if where is None or store.fields.is_empty():
        return store
    kept = match_rows(store.fields, where, str(store.path))
    info(f"{store.path}: where {where!r} keeps {kept.sum()} of {len(kept)} fields")
    return replace(store, fields=store.fields.filter(kept))


def check_balance(stores: Sequence[Store], column: str) -> None:
    """Raise ValueError unless every store has the column, with single values and not lists."""
    for store in stores:
        if column not in store.fields.columns:
            raise ValueError(
                f"balance {column!r}: {store.path} has no such column; it has "
                f"{', '.join(store.fields.columns)}"
            )
        if store.fields[column].dtype.is_nested():
            raise ValueError(f"balance {column!r} has lists: name a column of single values")


def balance(values: pl.Series) -> Float64[np.ndarray, " n"]:
    """Return a sampling weight for each field, so that every value is drawn equally often.

    The weight is 1 / (number of fields with the same value). Null counts as one more value.
    """
    # Dense ranks start at 1, so 0 is free for null.
    value_of = values.rank("dense").fill_null(0).to_numpy()
    _, places, counts = np.unique(value_of, return_inverse=True, return_counts=True)
    return 1 / counts[places]
