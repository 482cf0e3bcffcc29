"""Encodes a map as an .h5ad file with h5py only.

Importing anndata would take half of the run time of `map` on a small screen. The encodings are
those of the "AnnData on-disk format", written in the same order as by anndata, so that the bytes
are those that anndata writes.
"""

import io
from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np
from jaxtyping import Float32, Shaped

_TEXT = h5py.string_dtype()  # variable length, UTF-8


def encode_h5ad(
    features: Float32[np.ndarray, "g d"],
    obs: Mapping[str, Shaped[np.ndarray, " g"]],
    obs_names: list[str],
    var_names: list[str],
    uns: Mapping[str, str],
) -> bytes:
    """Return the bytes of an AnnData file that has only X, obs, var and strings in uns."""
    # Encoded in memory and then written by `write_bytes`, which raises an error on a full disk;
    # HDF5 would end the process.
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        _write_array(file, "X", features)
        _write_frame(file, "obs", obs_names, obs)
        _write_frame(file, "var", var_names, {})
        # anndata writes these groups, and the null dataset `raw`, even if they are empty.
        for name in ("obsm", "varm", "obsp", "varp", "layers"):
            _mark(file.create_group(name), "dict", "0.1.0")
        _write_texts(file, "uns", uns)
        _mark(file.create_dataset("raw", data=h5py.Empty("f")), "null", "0.1.0")
        _mark(file, "anndata", "0.1.0")
    return buffer.getvalue()


def _write_frame(
    file: h5py.File, name: str, index: list[str], columns: Mapping[str, Shaped[np.ndarray, " g"]]
) -> None:
    group = file.create_group(name)
    # h5py writes an empty list as float64, and so does anndata, which leaves the type to h5py.
    group.attrs["column-order"] = list(columns)
    group.attrs["_index"] = "_index"
    _write_array(group, "_index", np.array(index, dtype=object))
    for column, values in columns.items():
        _write_array(group, column, values)
    _mark(group, "dataframe", "0.2.0")


def _write_array(group: h5py.Group, name: str, values: Shaped[np.ndarray, "..."]) -> None:
    is_text = values.dtype == object
    data = values.astype(_TEXT) if is_text else values
    item = group.create_dataset(name, data=data, shape=data.shape, dtype=data.dtype)
    _mark(item, "string-array" if is_text else "array", "0.2.0")


def _write_texts(file: h5py.File, name: str, texts: Mapping[str, str]) -> None:
    group = file.create_group(name)
    for key, text in texts.items():
        _mark(group.create_dataset(key, data=np.array(text, dtype=_TEXT)), "string", "0.2.0")
    _mark(group, "dict", "0.1.0")


def _mark(item: Any, encoding: str, version: str) -> None:
    item.attrs["encoding-type"] = encoding
    item.attrs["encoding-version"] = version
