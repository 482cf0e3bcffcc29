"""Reads any file that phenomae writes as nested values, for `same_bytes.py` to compare.

What may differ between two runs of the same work is left out: clocks, speeds, versions.
"""

import json
import re
import tomllib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import polars as pl
import pyarrow.parquet as pq

CLOCKS = {"time", "seconds", "crops_per_s", "data_wait", "mfu"}
"""Keys of log.jsonl that differ between any two runs."""


def read_parquet(path: Path) -> Any:
    """Return the place, type and cells of every column, and what else the file tells."""
    held: dict[str, Any] = {}
    for place, column in enumerate(pl.read_parquet(path, glob=False)):
        plain = column.dtype.is_numeric() and not column.has_nulls()
        cells = column.to_numpy() if plain else [repr(cell) for cell in column.to_list()]
        held[column.name] = {"place": place, "type": str(column.dtype), "cells": cells}
    rest = (pq.read_schema(path).metadata or {}).items()
    return held | {"": {key.decode(): it.decode() for key, it in rest if key != b"ARROW:schema"}}


def read_safetensors(path: Path) -> Any:
    """Return the header and the bytes of all tensors."""
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    return {"header": content[8:start].decode(), "": np.frombuffer(content[start:], np.uint8)}


def read_npz(path: Path) -> Any:
    """Return the arrays, text as text."""
    with np.load(path, allow_pickle=False) as file:
        return {name: it.tolist() if it.dtype.kind == "U" else it for name, it in file.items()}


def read_h5ad(item: Any) -> Any:
    """Return every array and attribute, and the place of every name in an attribute."""
    if isinstance(item, Path):
        with h5py.File(item) as file:
            return read_h5ad(file)
    held: dict[str, Any] = {}
    for key, value in item.attrs.items():
        held[f"@{key}"] = {str(name): place for place, name in enumerate(np.atleast_1d(value))}
    if isinstance(item, h5py.Group):
        return held | {key: read_h5ad(part) for key, part in item.items()}
    text = h5py.check_string_dtype(item.dtype) is not None
    return held | {"": np.asarray(item.asstr()[()]).tolist() if text else item[()]}


def read_csv(path: Path) -> Any:
    """Return the header cell by cell, and the other lines."""
    header, *lines = path.read_bytes().decode().split("\n")
    return {"columns": {name: n for n, name in enumerate(header.split(","))}, "lines": lines}


def read_text(path: Path) -> Any:
    """Return JSON, TOML or JSON lines, these without clocks and speeds."""
    text = path.read_text()
    if path.suffix == ".jsonl":
        records = [json.loads(line) for line in text.splitlines()]
        return [{key: record[key] for key in record.keys() - CLOCKS} for record in records]
    return tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)


def read_numbers(path: Path) -> Any:
    """Return the numbers of a page in their order, but for versions and (shortened) identities."""
    text = re.sub(r"<style.*?</style>|<[^>]*>", " ", path.read_text(), flags=re.DOTALL)
    text = re.sub(r"\b[0-9a-f]{8}([0-9a-f]{24})?\b|\b\d+\.\d+\.\d+\S*", " ", text)
    return re.findall(r"\d+(?:,\d{3})*(?:\.\d+)?|(?<!\w)\.\d+", text)


read_bytes = partial(np.fromfile, dtype=np.uint8)
READERS: dict[str, tuple[str, str, Callable[[Path], Any]]] = {
    r"artefact\.json": ("artefact.json", "", read_text),
    r"zarr\.json": ("zarr.json", "zarr", read_text),
    r"config\.json": ("config.json of weights", "weights", read_text),
    r"config\.toml": ("config.toml", "config", read_text),
    r"log\.jsonl": ("log.jsonl, without clocks", "log", read_text),
    r".*\.parquet": ("Parquet: columns and cells", "table", read_parquet),
    r".*\.safetensors": ("weights and checkpoints", "tensors", read_safetensors),
    r".*\.npz": ("saved corrections", "correction", read_npz),
    r".*\.h5ad": ("maps: X, obs, var, uns", "map", read_h5ad),
    r".*\.csv": ("CSV: lines", "csv", read_csv),
    r".*\.(html|txt)": ("pages: numbers", "page", read_numbers),
    r".*\.(svg|png)": ("figures: bytes", "bytes", read_bytes),
    r".*\.tiff?": ("raw images: bytes", "bytes", read_bytes),
    r"\d+": ("shards of stores: bytes", "bytes", read_bytes),
    r".*": ("other files: bytes", "bytes", read_bytes),
}
"""By the first pattern that a file's name matches: what such files are called, their kind in
`RENAMED` ("": the one they tell) and what reads them."""
