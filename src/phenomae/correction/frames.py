"""Arrays and DataFrames: corrections compute with arrays and return the kind they were given."""

from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Bool, Float64

from phenomae.correction.batches import Batches

Features = Any
"""A 2-d array, a pandas or a polars DataFrame: one row per well, one column per feature."""
BatchLabels = Any
"""One label per well (an array, a Series or a list), or None if all wells are one batch."""


def to_array(features: Features) -> Float64[np.ndarray, "n d"]:
    """Return the features as float64; a float64 array is returned as it is, not copied.

    Raises ValueError unless there are two dimensions and all values are finite numbers.
    """
    table = features.to_numpy() if hasattr(features, "to_numpy") else features
    try:
        array = np.asarray(table, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError("features must be numbers: leave out the columns of text") from None
    if array.ndim != 2:
        raise ValueError(
            f"features must have two dimensions, wells and features, not {array.ndim}: "
            "reshape one well to (1, d)"
        )
    if not np.isfinite(array).all():
        raise ValueError("features must be finite, but some are NaN or infinite: leave them out")
    return array


def column_names(features: Features) -> list[str] | None:
    """Return the names of a DataFrame's columns; None for an array or names that are no text."""
    names = list(getattr(features, "columns", []))
    return names if names and all(isinstance(name, str) for name in names) else None


def like(
    features: Features, array: Float64[np.ndarray, "n k"], names: list[str], kind: str
) -> Features:
    """Return an array as the `kind` of output: pandas, polars, or default (that of `features`).

    A pandas DataFrame keeps the index of `features`.
    """
    # By the name of its module: only callers who already use pandas have it imported.
    is_pandas = type(features).__module__.startswith("pandas")
    if kind == "polars" or (kind == "default" and isinstance(features, pl.DataFrame)):
        return pl.from_numpy(array, schema=names, orient="row")
    if kind == "pandas" or (kind == "default" and is_pandas):
        import pandas as pd

        index = features.index if is_pandas else None
        return pd.DataFrame(array, index=index, columns=pd.Index(names))
    return array


def to_batches(batches: BatchLabels, count: int) -> Batches:
    """Return the batch of every well as text, or None.

    Raises ValueError unless there is one for each of `count` wells, and none is missing.
    """
    if batches is None:
        return None
    labels = np.asarray(batches)
    if labels.shape != (count,):
        raise ValueError(f"batches must be one per well ({count} wells), not {labels.shape}")
    if labels.dtype.kind == "O" and any(label is None or label != label for label in labels):
        raise ValueError("batches must have a label for every well, but some are missing")
    return labels if labels.dtype.kind == "U" else labels.astype(np.str_)


def to_mask(controls: Any, count: int) -> Bool[np.ndarray, " n"]:
    """Return which wells are controls; raises ValueError unless it is one bool for each well."""
    mask = np.asarray(controls)
    # Only bools: NumPy would take integers as row numbers and fit on the wrong wells.
    if mask.shape != (count,) or mask.dtype != bool:
        raise ValueError(
            f"controls must be one bool per well ({count} wells), not {mask.dtype} of shape "
            f"{mask.shape}"
        )
    return mask
