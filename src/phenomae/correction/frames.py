"""Converts arrays and DataFrames, so that a correction returns the type of its input."""

from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Bool, Float64

from phenomae.correction.batches import Batches

Features = Any
"""A 2-d array, pandas DataFrame or polars DataFrame: one row per well, one column per feature."""
BatchLabels = Any
"""One label per well (an array, a Series or a list), or None if all wells are one batch."""


def to_array(features: Features) -> Float64[np.ndarray, "n d"]:
    """Return the features as a float64 array; a float64 array is returned without a copy.

    Raises ValueError if the array is not two-dimensional or a value is not a finite number.
    """
    table = features.to_numpy() if hasattr(features, "to_numpy") else features
    try:
        array = np.asarray(table, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError("features must be numbers: leave out columns of text") from None
    if array.ndim != 2:
        raise ValueError(
            f"features must have two dimensions, wells and features, not {array.ndim}: "
            "reshape one well to (1, d)"
        )
    if not np.isfinite(array).all():
        raise ValueError(
            "features must be finite, but some are NaN or infinite: leave their wells out"
        )
    return array


def column_names(features: Features) -> list[str] | None:
    """Return the column names of a DataFrame; None for an array, or if a name is not text."""
    names = list(getattr(features, "columns", []))
    return names if names and all(isinstance(name, str) for name in names) else None


def like(
    features: Features, array: Float64[np.ndarray, "n k"], names: list[str], kind: str
) -> Features:
    """Return `array` as a table of type `kind`: pandas, polars, or default (type of `features`).

    If `features` is a pandas DataFrame, a pandas output has the same index.
    """
    # The type is recognised by the name of its module, so that pandas is imported only for callers
    # who use it.
    is_pandas = type(features).__module__.startswith("pandas")
    if kind == "polars" or (kind == "default" and isinstance(features, pl.DataFrame)):
        return pl.from_numpy(array, schema=names, orient="row")
    if kind == "pandas" or (kind == "default" and is_pandas):
        import pandas as pd

        index = features.index if is_pandas else None
        return pd.DataFrame(array, index=index, columns=pd.Index(names))
    return array


def to_batches(batches: BatchLabels, count: int) -> Batches:
    """Return the batch of each well as text; None if `batches` is None.

    Raises ValueError if there is not exactly one label per well (`count` wells), or if a label is
    missing.
    """
    if batches is None:
        return None
    labels = np.asarray(batches)
    if labels.shape != (count,):
        raise ValueError(f"batches must be one per well ({count} wells), not {labels.shape}")
    # `label != label` finds NaN, which pandas writes for missing labels.
    if labels.dtype.kind == "O" and any(label is None or label != label for label in labels):
        raise ValueError("batches must have a label for every well, but some are missing")
    return labels if labels.dtype.kind == "U" else labels.astype(np.str_)


def to_mask(controls: Any, count: int) -> Bool[np.ndarray, " n"]:
    """Return which wells are controls; raises ValueError unless there is one bool per well."""
    mask = np.asarray(controls)
    # Only bools are allowed: NumPy would use integers as row numbers and select the wrong wells.
    if mask.shape != (count,) or mask.dtype != bool:
        raise ValueError(
            f"controls must be one bool per well ({count} wells), not {mask.dtype} of shape "
            f"{mask.shape}"
        )
    return mask
