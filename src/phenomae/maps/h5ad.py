"""Reads the common AnnData encodings with h5py only: importing anndata takes about a second.

That second was more than half of the run time of `benchmark` on a map of 160 genes. Files that this
module does not recognise (another encoding or version, a damaged file) are left to anndata, which
reads them or raises an error. The encodings are those of the "AnnData on-disk format".
"""

from collections.abc import Sequence
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
"""Encodings that this module reads, with their only published version."""


class _UnknownEncodingError(Exception):
    """Raised for an encoding that this module leaves to anndata."""


@dataclass(frozen=True)
class H5ad:
    """The parts of an .h5ad file that a map needs."""

    names: list[str]
    """Names of the observations (rows)."""
    features: Shaped[np.ndarray, "g d"]
    """X as a dense matrix."""
    obs: pl.DataFrame
    """The columns of obs, without the index."""
    variables: list[str]
    """Names of the variables (columns of X)."""
    unstructured: list[str]
    """Names in `uns`, without the requested keys."""
    notes: dict[str, str]
    """The strings under the requested keys of `uns`, of those that there are."""
    points: Shaped[np.ndarray, "..."] | None
    """The array under the requested key of `obsm`; None if there is no such key."""


def read_h5ad(path: Path, keys: Sequence[str], points: str) -> H5ad | None:
    """Return the contents of an .h5ad file, with the strings `uns[key]` and `obsm[points]`.

    Returns None if the file must be read by anndata.
    """
    try:
        with h5py.File(path, "r") as file:
            return _read(file, keys, points)
    except (_UnknownEncodingError, OSError, KeyError, ValueError, TypeError, RuntimeError):
        return None  # anndata then reads the file or raises an error


def _read(file: Any, keys: Sequence[str], points: str) -> H5ad:
    _require(_encoding(file) == "anndata")
    obs, features = file["obs"], _matrix(file["X"])
    names, variables = _strings(obs[_index(obs)]), _strings(file["var"][_index(file["var"])])
    _require(features.shape == (len(names), len(variables)))
    columns = {str(name): _column(obs[str(name)]) for name in obs.attrs["column-order"]}
    # polars before 1.32 loses the number of rows of a frame without columns.
    _require(bool(columns))
    _require(all(len(column) == len(names) for column in columns.values()))
    entries = dict(file["uns"]) if "uns" in file else {}
    found = {key: entries.pop(key) for key in keys if key in entries}
    _require(all(_encoding(note) == "string" for note in found.values()))
    notes = {key: note.asstr()[()] for key, note in found.items()}
    embedded = _numbers(file["obsm"][points]) if points in file.get("obsm", ()) else None
    frame = pl.DataFrame(columns)
    return H5ad(names, features, frame, variables, sorted(entries), notes, embedded)


def _require(holds: bool) -> None:
    if not holds:
        raise _UnknownEncodingError


def _encoding(item: Any) -> str:
    """Return the encoding of a group or dataset; raises if encoding or version is unknown."""
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
    from scipy import sparse  # slow to import, and maps of phenomae are dense

    parts = tuple(item[name][()] for name in ("data", "indices", "indptr"))
    shape = tuple(int(side) for side in item.attrs["shape"])
    matrix = sparse.csr_matrix if kind == "csr_matrix" else sparse.csc_matrix
    return matrix(parts, shape=shape).toarray()


def _strings(item: Any) -> list[str]:
    _require(_encoding(item) == "string-array" and h5py.check_string_dtype(item.dtype) is not None)
    return item.asstr()[()].tolist()


def _numbers(item: Any) -> Shaped[np.ndarray, "..."]:
    _require(_encoding(item) == "array" and item.dtype.kind in "iufb" and item.dtype.isnative)
    # Rarer types (float16, long double, another byte order) are left to anndata and pandas.
    _require(item.dtype.itemsize in (1, 2, 4, 8) and item.dtype != np.float16)
    return item[()]


def _column(item: Any) -> pl.Series:
    """Return a column of obs with the type that reading by anndata and from_pandas would give."""
    kind = _encoding(item)
    if kind == "string-array":
        return pl.Series(_strings(item), dtype=pl.String)
    if kind == "array":
        column = pl.Series(_numbers(item))
        # `polars.from_pandas` also converts NaN to null.
        return column.fill_nan(None) if column.dtype.is_float() else column
    if kind == "categorical":
        return _categorical(item)
    _require(kind.startswith("nullable-"))
    values = item["values"]  # the mask is true for missing values, whose entries are arbitrary
    column = pl.Series(_strings(values) if "string" in kind else _numbers(values))
    return pl.select(pl.when(pl.Series(~item["mask"][()])).then(column)).to_series()


def _categorical(item: Any) -> pl.Series:
    """Return a categorical column; ordered and numeric categories are left to anndata."""
    _require(not item.attrs["ordered"])
    categories = pl.Series(_strings(item["categories"]), dtype=pl.String)
    # The code of a missing value is -1.
    codes = pl.Series(_numbers(item["codes"]).astype(np.int64))
    known = pl.select(pl.when(codes >= 0).then(codes)).to_series()
    return categories.gather(known).cast(pl.Categorical)
