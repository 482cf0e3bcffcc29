"""The checksum of a map's content, which its record in `uns` holds.

It is of the values and not of the file: HDF5 files of one content may differ in their bytes, and
software that reads a map and writes it again does not change it.
"""

import hashlib
import json
from collections.abc import Collection, Sequence

import numpy as np
import polars as pl
from jaxtyping import Shaped


def hash_content(
    features: Shaped[np.ndarray, "g d"],
    names: Sequence[str],
    obs: pl.DataFrame,
    variables: Sequence[str],
    unstructured: Collection[str],
) -> str:
    """Return the SHA-256 of a map: 64 hexadecimal digits.

    It covers X as float32, the names of rows and features, the columns of obs with their names and
    values, and the names in `uns` (`unstructured`), which has nothing but the record itself, and
    that of a layout.
    """
    columns = {name: _values(obs[name]) for name in sorted(obs.columns)}
    rest = [list(names), list(variables), columns, sorted(unstructured), list(features.shape)]
    checksum = hashlib.sha256(json.dumps(rest, sort_keys=True).encode())
    # In one byte order on every machine, little endian.
    checksum.update(np.ascontiguousarray(features, dtype="<f4").data)
    return checksum.hexdigest()


def _values(column: pl.Series) -> list[object]:
    """Return the values of a column; text is the same as categories, and NaN is missing."""
    if isinstance(column.dtype, pl.Categorical | pl.Enum):
        column = column.cast(pl.String)
    return (column.fill_nan(None) if column.dtype.is_float() else column).to_list()
