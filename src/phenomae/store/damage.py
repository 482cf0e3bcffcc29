"""Compares one group or one field of a store with its expected metadata and checksum.

The functions return sentences instead of raising, so that one check reports all damage.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore as ts

from phenomae.store.files import array_location, read_file
from phenomae.store.metadata import group_document, image_attributes
from phenomae.store.write import array_metadata, checksum
from phenomae.urls import below, first_reason

_SHOWN = 60  # longest JSON value, in characters, that a sentence quotes in full


@dataclass(frozen=True)
class ListedField:
    """A field as described by the store's table and signature."""

    path: str
    """Path of the field's image group in the store."""
    channels: tuple[str, ...]
    height: int
    width: int
    dtype: str
    pixel_size_um: float | None
    windows: tuple[tuple[float, float], ...]
    """Low and high end of each channel's window."""
    checksum: str


def find_field_damage(store: Path | str, quick: bool, field: ListedField) -> list[str]:
    """Return one sentence per problem of a field's image group and of its array.

    With `quick` no pixels are decoded: only the index of the field's shard is read.
    """
    windows = np.array(field.windows)
    attributes = image_attributes(field.channels, windows, field.dtype, field.pixel_size_um)
    for channel in attributes["ome"]["omero"]["channels"]:
        del channel["color"], channel["active"]  # users may change how a viewer shows a channel
    wrong = find_group_damage(store, field.path, attributes)
    shape = len(field.channels), field.height, field.width
    metadata = array_metadata(shape, field.dtype)
    # Other inner codecs are accepted: a store recompressed with the same pixels is not damaged.
    del metadata["codecs"][0]["configuration"]["codecs"]
    array = f"{field.path}/0"
    damage = _find_document_damage(store, array, {"zarr_format": 3, **metadata})
    # With wrong metadata the pixels would be decoded wrongly too: report only the metadata.
    damage = damage or _find_pixel_damage(below(store, array), quick, field.checksum)
    return [*wrong, f"{array}: {damage}"] if damage else wrong


def find_group_damage(store: Path | str, group: str, attributes: dict[str, Any]) -> list[str]:
    """Return the problems of a group that must have `attributes` and may have others."""
    damage = _find_document_damage(store, group, group_document(attributes))
    return [f"{group}: {damage}"] if damage else []


def _find_document_damage(store: Path | str, node: str, expected: dict[str, Any]) -> str | None:
    try:
        content = read_file(below(store, f"{node}/zarr.json"))
    except FileNotFoundError:
        return "its zarr.json is missing"
    except OSError as error:
        return f"its zarr.json cannot be read: {error.strerror or error}"
    try:
        return find_difference(json.loads(content), expected, "zarr.json")
    except (ValueError, RecursionError):
        return "its zarr.json is not JSON"


def find_difference(found: Any, expected: Any, where: str) -> str | None:
    """Return a sentence on the first difference between two JSON values, or None.

    Objects in `found` may have additional keys.
    """
    if isinstance(found, dict) and isinstance(expected, dict):
        pairs = [(f"{where}, {key}", found.get(key), value) for key, value in expected.items()]
    elif isinstance(found, list) and isinstance(expected, list):
        if len(found) != len(expected):
            return f"{where} has {len(found)} instead of {len(expected)} entries"
        pairs = [
            (f"{where} {number}", *pair)
            for number, pair in enumerate(zip(found, expected, strict=True), start=1)
        ]
    else:
        same = found == expected
        return None if same else f"{where} is {_shorten(found)}, expected {_shorten(expected)}"
    differences = (find_difference(value, other, place) for place, value, other in pairs)
    return next((difference for difference in differences if difference), None)


def _shorten(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def _find_pixel_damage(location: Path | str, quick: bool, expected: str) -> str | None:
    spec = {
        "driver": "zarr3",
        "kvstore": array_location(location),
        "fill_missing_data_reads": False,  # `ingest` writes every shard: a missing shard is damage
    }
    try:
        array = ts.open(spec, open=True, read=True).result()
        if quick:
            # Reads only the shard's index. The index is at the end of the file and has a checksum,
            # so a truncated file is found.
            kept = array.storage_statistics(query_fully_stored=True).result()
            return None if kept.fully_stored else "its shard, or a part of the shard, is missing"
        pixels = array.read().result()
    except (ValueError, OSError, NotImplementedError) as error:
        return f"its pixels cannot be read: {first_reason(error)}"
    if checksum(pixels) != expected:
        return "its pixels have changed since ingest (their SHA-256 is not that in fields.parquet)"
    return None
