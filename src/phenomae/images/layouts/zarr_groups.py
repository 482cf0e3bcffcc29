"""Reads the metadata of OME-Zarr groups, and finds plates below a folder.

OME-Zarr 0.4 has its keys in `.zattrs` (Zarr 2), 0.5 under `ome` in `zarr.json` (Zarr 3).
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from phenomae.images.layouts.index_files import ZARR_FILES, walk_once
from phenomae.images.pixels.zarr_array import read_present

_KINDS = {
    "plate": "an OME-Zarr plate",
    "well": "a well of an OME-Zarr plate",
    "multiscales": "an OME-Zarr image",
    "bioformats2raw.layout": "an OME-Zarr folder of bioformats2raw without a plate",
}


def read_group(location: Path | str) -> dict[str, Any] | None:
    """Return the OME-Zarr keys of a group; empty if it has none, None if there is no group.

    Raises ValueError if the metadata are not a JSON object, and OSError if they cannot be read.
    """
    for name, text in read_present(location, ("zarr.json", ".zattrs", ".zgroup")):
        try:
            content = json.loads(text)
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, dict):
            raise ValueError(f"{location}/{name} is not a JSON object: the group is damaged")
        if name == ".zgroup":
            return {}
        attributes = content.get("attributes", {}) if name == "zarr.json" else content
        keys = attributes.get("ome", attributes) if isinstance(attributes, dict) else {}
        return keys if isinstance(keys, dict) else {}
    return None


def name_kind(keys: dict[str, Any]) -> str:
    """Return what a group with these keys is: `an OME-Zarr image`."""
    return next((kind for key, kind in _KINDS.items() if key in keys), "a Zarr group")


def walk_groups(raw: Path) -> Iterator[tuple[Path, dict[str, Any] | None]]:
    """Yield the outermost OME-Zarr groups at or below a folder, with their keys.

    The keys are None if they are damaged. Links to folders are followed, each folder once.
    """
    for folder, below, names in walk_once(raw):
        below[:] = sorted(name for name in below if not name.startswith("."))
        if not ZARR_FILES & set(names):
            continue
        try:
            keys = read_group(folder)
        except ValueError:
            keys = None
        # Plain groups may hold plates; what has keys of OME-Zarr holds chunks by the million.
        if keys is None or name_kind(keys) != "a Zarr group":
            below.clear()
            yield folder, keys
