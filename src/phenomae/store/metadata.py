"""The OME-Zarr 0.5 metadata of a plate: groups for plate, rows, wells and images."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from phenomae.artefacts import whole_file
from phenomae.records import split_well

VERSION = "0.5"
# A viewer's first look; which stain a channel shows is said by its label alone.
_COLORS = ("0000FF", "00FF00", "FF0000", "FFFF00", "FF00FF", "00FFFF", "FFFFFF")


def write_group(folder: Path, attributes: dict[str, Any]) -> None:
    """Write a Zarr group, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    with whole_file(folder / "zarr.json") as partial:
        partial.write_text(json.dumps(document, indent=2) + "\n")


def write_plate_groups(
    folder: Path, name: str, images: dict[str, int], making: dict[str, Any]
) -> None:
    """Write the groups of a plate, its rows and its wells.

    `images` counts each well's fields, wells in order; `making` says how pixels became what they
    are, under the key `phenomae`.
    """
    pairs = {well: split_well(well) for well in images}
    rows = sorted({row for row, _ in pairs.values()}, key=lambda row: (len(row), row))
    columns = sorted({column for _, column in pairs.values()}, key=int)
    wells = [
        {
            "path": f"{row}/{column}",
            "rowIndex": rows.index(row),
            "columnIndex": columns.index(column),
        }
        for row, column in pairs.values()
    ]
    plate = {
        "name": name,
        "version": VERSION,
        "rows": [{"name": row} for row in rows],
        "columns": [{"name": column} for column in columns],
        "wells": wells,
        "field_count": max(images.values()),
    }
    for row in rows:
        write_group(folder / row, {})
    for well, (row, column) in pairs.items():
        paths = [{"path": str(index)} for index in range(images[well])]
        well_attributes = {"version": VERSION, "well": {"version": VERSION, "images": paths}}
        write_group(folder / row / column, {"ome": well_attributes})
    # Last, because its presence says that the rest is there: see read_making.
    write_group(folder, {"ome": {"version": VERSION, "plate": plate}, "phenomae": making})


def read_making(folder: Path) -> dict[str, Any] | None:
    """Return what `write_plate_groups` was told of a plate's making; None where it has not run."""
    try:
        return json.loads((folder / "zarr.json").read_text())["attributes"]["phenomae"]
    except FileNotFoundError:
        return None


def image_attributes(
    channels: Sequence[str],
    windows: Float64[np.ndarray, "c 2"],
    dtype: str,
    pixel_size_um: float | None,
) -> dict[str, Any]:
    """Return the attributes of an image group: axes, scale, and channels with their windows."""
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
            "color": _COLORS[index % len(_COLORS)],
            "active": True,
            "window": {
                "min": 0.0,
                "max": float(np.iinfo(dtype).max),
                "start": float(low),
                "end": float(high),
            },
        }
        for index, (name, (low, high)) in enumerate(zip(channels, windows, strict=True))
    ]
    return {"ome": {"version": VERSION, "multiscales": [multiscale], "omero": {"channels": shown}}}
