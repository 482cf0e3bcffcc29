"""Encodes a map or wells as an .h5ad file with h5py only.

Importing anndata would take half of the run time of `map` on a small screen. The encodings are
those of the "AnnData on-disk format", written in the same order as by anndata, so that the bytes
are those that anndata writes, apart from `raw`. Only encodings that anndata 0.10 reads are used.
"""

import io
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
import polars as pl
from jaxtyping import Bool, Float32, Int, Shaped

from phenomae.hdf5_files import append_checksum

_TEXT = h5py.string_dtype()  # variable length, UTF-8


@dataclass(frozen=True)
class Categories:
    """A column of text that may have empty cells, which the encoding of text cannot have."""

    codes: Int[np.ndarray, " g"]
    """Index of each row's category; -1 for an empty cell."""
    names: list[str]


@dataclass(frozen=True)
class Nullable:
    """A column of whole numbers or bools, some of which are missing."""

    values: Shaped[np.ndarray, " g"]
    missing: Bool[np.ndarray, " g"]


Column = Shaped[np.ndarray, " g"] | Categories | Nullable


def obs_columns(table: pl.DataFrame) -> dict[str, Column]:
    """Return the columns of a table in the types that `encode_h5ad` writes, by name.

    Text becomes categories, because it may have empty cells; missing numbers become NaN, and whole
    numbers and bools of which some are missing become `Nullable`.
    """
    return {column.name: _convert(column) for column in table.iter_columns()}


def _convert(column: pl.Series) -> Column:
    if not (column.dtype.is_numeric() or column.dtype == pl.Boolean):  # text, and rarely dates
        texts = column.cast(pl.String)
        names = texts.drop_nulls().unique().sort().to_list()
        places = {name: index for index, name in enumerate(names)}
        codes = [places.get(text, -1) for text in texts]
        return Categories(np.array(codes, dtype=np.int32), names)
    if column.null_count() and not column.dtype.is_float():
        filled = column.fill_null(False if column.dtype == pl.Boolean else 0)
        return Nullable(filled.to_numpy(), column.is_null().to_numpy())
    return column.to_numpy()


def encode_h5ad(
    features: Float32[np.ndarray, "g d"],
    obs: Mapping[str, Column],
    obs_names: list[str],
    var_names: list[str],
    uns: Mapping[str, str],
    obsm: Mapping[str, Float32[np.ndarray, "g 2"]] | None = None,
) -> bytes:
    """Return the bytes of an AnnData file that has only X, obs, obsm, var and strings in uns.

    They end with a checksum (`hdf5_files`), which HDF5 ignores.
    """
    # Encoded in memory and then written by `write_bytes`, which raises an error on a full disk;
    # HDF5 would end the process.
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        _write_array(file, "X", features)
        _write_frame(file, "obs", obs_names, obs)
        _write_frame(file, "var", var_names, {})
        # anndata writes these groups even if they are empty. Since 0.12 it also writes a dataset
        # `raw` of the encoding `null`, which anndata 0.10 and 0.11 refuse: it is left out.
        for name in ("obsm", "varm", "obsp", "varp", "layers"):
            group = file.create_group(name)
            if name == "obsm":
                _write_arrays(group, obsm or {})
            _mark(group, "dict", "0.1.0")
        group = file.create_group("uns")
        _write_texts(group, uns)
        _mark(group, "dict", "0.1.0")
        _mark(file, "anndata", "0.1.0")
    return append_checksum(buffer.getvalue())


def add_layout(
    content: bytes, obsm: Mapping[str, Float32[np.ndarray, "g 2"]], uns: Mapping[str, str]
) -> bytes:
    """Return the bytes of an AnnData file with arrays in obsm and strings in uns, new or replaced.

    Everything else is copied, also what other software has added. The bytes do not depend on what
    is replaced, because the copy has no space that is no longer used.
    """
    buffer = io.BytesIO()
    with h5py.File(io.BytesIO(content), "r") as source, h5py.File(buffer, "w") as file:
        for name in source:
            if name not in ("obsm", "uns"):
                source.copy(name, file)
        _write_arrays(_copy_group(source, file, "obsm", obsm), obsm)
        _write_texts(_copy_group(source, file, "uns", uns), uns)
        file.attrs.update(source.attrs)
    return append_checksum(buffer.getvalue())


def _write_frame(
    file: h5py.File, name: str, index: list[str], columns: Mapping[str, Column]
) -> None:
    group = file.create_group(name)
    # h5py writes an empty list as float64, and so does anndata, which leaves the type to h5py.
    group.attrs["column-order"] = list(columns)
    group.attrs["_index"] = "_index"
    _write_array(group, "_index", np.array(index, dtype=object))
    for column, values in columns.items():
        _write_column(group, column, values)
    _mark(group, "dataframe", "0.2.0")


def _write_column(group: h5py.Group, name: str, values: Column) -> None:
    if isinstance(values, np.ndarray):
        _write_array(group, name, values)
        return
    parts = group.create_group(name)
    if isinstance(values, Categories):
        parts.attrs["ordered"] = False
        _write_array(parts, "codes", values.codes)
        _write_array(parts, "categories", np.array(values.names, dtype=object))
        _mark(parts, "categorical", "0.2.0")
        return
    _write_array(parts, "values", values.values)
    _write_array(parts, "mask", values.missing)
    is_bool = values.values.dtype == np.bool_
    _mark(parts, "nullable-boolean" if is_bool else "nullable-integer", "0.1.0")


def _write_array(group: h5py.Group, name: str, values: Shaped[np.ndarray, "..."]) -> None:
    is_text = values.dtype == object
    data = values.astype(_TEXT) if is_text else values
    item = group.create_dataset(name, data=data, shape=data.shape, dtype=data.dtype)
    _mark(item, "string-array" if is_text else "array", "0.2.0")


def _write_arrays(group: h5py.Group, arrays: Mapping[str, Shaped[np.ndarray, "..."]]) -> None:
    for key, values in arrays.items():
        _write_array(group, key, values)


def _write_texts(group: h5py.Group, texts: Mapping[str, str]) -> None:
    for key, text in texts.items():
        _mark(group.create_dataset(key, data=np.array(text, dtype=_TEXT)), "string", "0.2.0")


def _copy_group(source: Any, file: h5py.File, name: str, left_out: Collection[str]) -> h5py.Group:
    """Copy a group without some of its items, and return the copy."""
    group = file.create_group(name)
    for key in source[name]:
        if key not in left_out:
            source.copy(f"{name}/{key}", group)
    group.attrs.update(source[name].attrs)
    return group


def _mark(item: Any, encoding: str, version: str) -> None:
    item.attrs["encoding-type"] = encoding
    item.attrs["encoding-version"] = version
