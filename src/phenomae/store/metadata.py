"""The OME-Zarr 0.5 metadata of a plate: groups for plate, rows, wells and images.

All attributes are computed from the table of fields and the signature alone, so that `store check`
can compute the expected attributes of every group.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import Float64

from phenomae.store.colors import choose_colors
from phenomae.store.files import write_file
from phenomae.urls import below

VERSION = "0.5"


def group_document(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return the content of a group's zarr.json."""
    return {"zarr_format": 3, "node_type": "group", "attributes": attributes}


def write_group(location: Path | str, attributes: dict[str, Any]) -> None:
    """Write the zarr.json of a group, completely or not at all."""
    content = json.dumps(group_document(attributes), indent=2) + "\n"
    write_file(below(location, "zarr.json"), content.encode())


def write_plate_groups(
    location: Path | str, name: str, paths: Sequence[str], provenance: dict[str, Any]
) -> None:
    """Write the groups of a plate, of its rows and of its wells.

    Parameters
    ----------
    location
        Folder or address of the plate, `STORE/PLATE.zarr`.
    name
        Name of the plate.
    paths
        Path of every image, `PLATE.zarr/ROW/COLUMN/IMAGE`, sorted by well.
    provenance
        How the stored pixels were computed from the raw pixels; written under the key `phenomae`.
    """
    groups = plate_attributes(name, paths)
    plate = groups.pop("")
    for group, attributes in groups.items():
        write_group(below(location, group), attributes)
    # Last, because other tools start from the plate's group, which must not list missing wells.
    write_group(location, {**plate, "phenomae": provenance})


def plate_attributes(name: str, paths: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the attributes of the groups of a plate, keyed by the path inside `PLATE.zarr`.

    The plate's own group has the path `""`. `paths` has the path of every image,
    `PLATE.zarr/ROW/COLUMN/IMAGE`, sorted by well.
    """
    images: dict[tuple[str, str], list[str]] = {}
    for path in paths:
        row, column, image = path.split("/")[-3:]
        images.setdefault((row, column), []).append(image)
    rows = sorted({row for row, _ in images}, key=lambda row: (len(row), row))  # Z before AA
    columns = sorted({column for _, column in images}, key=int)
    wells = [
        {
            "path": f"{row}/{column}",
            "rowIndex": rows.index(row),
            "columnIndex": columns.index(column),
        }
        for row, column in images
    ]
    plate = {
        "name": name,
        "version": VERSION,
        "rows": [{"name": row} for row in rows],
        "columns": [{"name": column} for column in columns],
        "wells": wells,
        "field_count": max(map(len, images.values())),
    }
    groups: dict[str, dict[str, Any]] = {row: {} for row in rows}
    for (row, column), names in images.items():
        well = {"version": VERSION, "images": [{"path": image} for image in names]}
        groups[f"{row}/{column}"] = {"ome": {"version": VERSION, "well": well}}
    return {**groups, "": {"ome": {"version": VERSION, "plate": plate}}}


def image_attributes(
    channels: Sequence[str],
    windows: Float64[np.ndarray, "c 2"],
    dtype: str,
    pixel_size_um: float | None,
    colors: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Any]:
    """Return the attributes of an image group: axes, scale, and channels with their windows.

    `windows` has the low and high end of each channel's intensity window in stored pixel values,
    the range that viewers display. With a `pixel_size_um` of None the scale is 1 without a unit.
    `colors` has the display colours that the raw plates give.
    """
    unit = {} if pixel_size_um is None else {"unit": "micrometer"}
    scale = 1.0 if pixel_size_um is None else pixel_size_um
    transformation = {"type": "scale", "scale": [1.0, scale, scale]}
    multiscale = {
        "axes": [
            {"name": "c", "type": "channel"},
            {"name": "y", "type": "space", **unit},
            {"name": "x", "type": "space", **unit},
        ],
        "datasets": [{"path": "0", "coordinateTransformations": [transformation]}],
    }
    shown = [
        {
            "label": name,
            "color": color,
            "active": True,
            "window": {
                "min": 0.0,
                "max": float(np.iinfo(dtype).max),
                "start": float(low),
                "end": float(high),
            },
        }
        for name, color, (low, high) in zip(
            channels, choose_colors(channels, colors), windows, strict=True
        )
    ]
    return {"ome": {"version": VERSION, "multiscales": [multiscale], "omero": {"channels": shown}}}
