"""Reads the common AnnData encodings with h5py alone: importing anndata takes about a second.

That second was more than half of the whole command `benchmark` on a map of 160 genes. What this
module does not recognise (another encoding or version, a damaged file) is left to anndata, which
reads it or says what is wrong. The encodings are those of the "AnnData on-disk format".
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import polars as pl
from jaxtyping import Shaped

Values = Shaped[np.ndarray, " n"]
_KNOWN = {
    "anndata": "0.1.0",
    "array": "0.2.0",
    "categorical": "0.2.0",
    "csc_matrix": "0.1.0",
    "csr_matrix": "0.1.0",
    "dataframe": "0.2.0",
    "nullable-boolean": "0.1.0",
    "nullable-integer": "0.1.0",
    "nullable-string-array": "0.1.0",
    "string": "0.2.0",
    "string-array": "0.2.0",
}
"""Encodings read here, each in the one version there is."""


class _UnknownEncodingError(Exception):
    """Something that is left to anndata."""


@dataclass(frozen=True)
class H5ad:
    """The parts of an .h5ad file that a map needs."""

    names: list[str]
    """Of the observations."""
    features: Shaped[np.ndarray, "g d"]
    """X, dense."""
    obs: pl.DataFrame
    note: str | None
    """The string in `uns` under the key that was named; None if there is no such key."""


def read_h5ad(path: Path, key: str) -> H5ad | None:
    """Return what an .h5ad file holds and the string `uns[key]`; None if anndata has to read it."""
    try:
        with h5py.File(path, "r") as file:
            return _read(file, key)
    except (_UnknownEncodingError, OSError, KeyError, ValueError, TypeError, RuntimeError):
        return None  # anndata then reads it, or says what is wrong with it


def _read(file: Any, key: str) -> H5ad:
    _require(_encoding(file) == "anndata")
    obs, features = file["obs"], _matrix(file["X"])
    names, variables = _strings(obs[_index(obs)]), file["var"]
    _require(features.shape == (len(names), len(variables[_index(variables)])))
    columns = {str(name): _column(obs[str(name)]) for name in obs.attrs["column-order"]}
    _require(bool(columns))  # polars before 1.32 cannot tell how high a frame without columns is
    _require(all(len(column) == len(names) for column in columns.values()))
    note = file["uns"].get(key) if "uns" in file else None
    _require(note is None or _encoding(note) == "string")
    return H5ad(names, features, pl.DataFrame(columns), None if note is None else note.asstr()[()])


def _require(holds: bool) -> None:
    if not holds:
        raise _UnknownEncodingError


def _encoding(item: Any) -> str:
    """Return the encoding of a group or dataset; raises unless it is known in its version."""
    kind = item.attrs.get("encoding-type")
    _require(kind in _KNOWN and item.attrs.get("encoding-version") == _KNOWN[kind])
    return kind


def _index(frame: Any) -> str:
    _require(_encoding(frame) == "dataframe")
    return frame.attrs["_index"]


def _matrix(item: Any) -> Shaped[np.ndarray, "g d"]:
    kind = _encoding(item)
    if kind == "array":
        return _numbers(item)
    _require(kind in ("csr_matrix", "csc_matrix"))
    from scipy import sparse  # slow to import, and our own maps are dense

    parts = tuple(item[name][()] for name in ("data", "indices", "indptr"))
    shape = tuple(int(side) for side in item.attrs["shape"])
    matrix = sparse.csr_matrix if kind == "csr_matrix" else sparse.csc_matrix
    return matrix(parts, shape=shape).toarray()


def _strings(item: Any) -> list[str]:
    _require(_encoding(item) == "string-array" and h5py.check_string_dtype(item.dtype) is not None)
    return item.asstr()[()].tolist()


def _numbers(item: Any) -> Shaped[np.ndarray, "..."]:
    _require(_encoding(item) == "array" and item.dtype.kind in "iufb" and item.dtype.isnative)
    _require(item.dtype.itemsize in (1, 2, 4, 8) and item.dtype != np.float16)
    return item[()]


def _column(item: Any) -> pl.Series:
    """Return a column of obs, of the type that `polars.from_pandas` gives what anndata reads."""
    kind = _encoding(item)
    if kind == "string-array":
        return pl.Series(_strings(item), dtype=pl.String)
    if kind == "array":
        column = pl.Series(_numbers(item))
        return column.fill_nan(None) if column.dtype.is_float() else column
    if kind == "categorical":
        return _categorical(item)
    _require(kind.startswith("nullable-"))
    values = item["values"]
    column = pl.Series(_strings(values) if "string" in kind else _numbers(values))
    return pl.select(pl.when(pl.Series(~item["mask"][()])).then(column)).to_series()


def _categorical(item: Any) -> pl.Series:
    """Return a categorical column; ordered ones and those of numbers are left to anndata."""
    _require(not item.attrs["ordered"])
    categories = pl.Series(_strings(item["categories"]), dtype=pl.String)
    codes = pl.Series(_numbers(item["codes"]).astype(np.int64))
    known = pl.select(pl.when(codes >= 0).then(codes)).to_series()
    return categories.gather(known).cast(pl.Categorical)
