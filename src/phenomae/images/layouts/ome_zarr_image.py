"""Reads what one image of an OME-Zarr plate is: axes, channels, colours and pixel size.

Only the first dataset of the first multiscale is read, which has the full resolution.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from phenomae.images.layouts.index_files import check_file_name, unique_channels
from phenomae.images.layouts.zarr_groups import name_kind, read_group
from phenomae.images.pixels.zarr_array import read_metadata
from phenomae.urls import below

_AXES = "expected y and x at the end, and before them any of t, c and z"
_OLD_AXES = "tczyx"  # of versions 0.1 and 0.2, which list no axes
_MICROMETRES = {
    "angstrom": 1e-4,
    "nanometer": 1e-3,
    "micrometer": 1,
    "millimeter": 1e3,
    "meter": 1e6,
}
_COLOR = re.compile(r"#?([0-9A-Fa-f]{6})(?:[0-9A-Fa-f]{2})?")
_KNOWN_STEPS = {"scale", "translation", "identity"}
_SQUARE = 1e-3  # relative difference of height and width up to which a pixel is square


@dataclass(frozen=True)
class ZarrImage:
    """One image of a plate."""

    array: str
    """Path or address of the array of full resolution."""
    axes: str
    """Names of the axes, such as `tczyx`."""
    shape: tuple[int, ...]
    channels: tuple[str, ...]
    """Names of the channels, or their numbers from 1 if they have none."""
    colors: tuple[str, ...]
    """Display colours of the channels, as RRGGBB; empty where none is given."""
    pixel_size_um: float | None
    """None if there is no scale, or its unit is not known."""
    no_size: str
    """Why a scale does not give the pixel size; empty if it does, or if there is none. A scale of 1
    without a unit is none."""

    def size(self, axis: str) -> int:
        """Return the length of an axis; 1 if the array does not have it."""
        return self.shape[self.axes.index(axis)] if axis in self.axes else 1

    def planes(self) -> Iterator[tuple[tuple[int, ...], int, int, int]]:
        """Yield the index of each plane before y and x, and its time point, channel and z."""
        for index in product(*map(range, self.shape[:-2])):
            place = dict(zip(self.axes, index, strict=False))
            yield index, place.get("t", 0), place.get("c", 0), place.get("z", 0)


def read_image(location: Path | str) -> ZarrImage:
    """Read the metadata of an image.

    Raises ValueError, naming the image, if there is none, or if its axes, channels or scales are
    missing or cannot be understood.
    """
    keys = read_group(location)
    if keys is None:
        raise ValueError(f"{location} is missing: the well lists an image of this name")
    multiscales = keys.get("multiscales")
    if not (isinstance(multiscales, list) and multiscales and isinstance(multiscales[0], dict)):
        raise ValueError(f"{location} is {name_kind(keys)}, not an image: it has no multiscales")
    try:
        dataset = multiscales[0]["datasets"][0]
        array = below(location, check_file_name(dataset["path"]))
    except (LookupError, TypeError, AttributeError, ValueError):
        raise ValueError(f"{location}: its multiscales name no dataset") from None
    found = read_metadata(array)
    if found is None:
        raise ValueError(f"{array} is missing: the image names an array of this name")
    try:
        shape = _read_shape(found[1])
        axes, units = _read_axes(multiscales[0].get("axes"), len(shape))
        count = shape[axes.index("c")] if "c" in axes else 1
        channels, colors = _read_channels(keys.get("omero"), count)
        size, no_size = _read_pixel_size(multiscales[0], dataset, axes, units)
    except ValueError as error:
        raise ValueError(f"{location}: {error}") from None
    return ZarrImage(str(array), axes, shape, channels, colors, size, no_size)


def _read_shape(metadata: dict[str, Any]) -> tuple[int, ...]:
    shape = metadata.get("shape")
    if not isinstance(shape, list) or not all(isinstance(n, int) and n > 0 for n in shape):
        raise ValueError(f"its array has the shape {shape}: expected whole numbers above 0")
    return tuple(shape)


def _read_axes(axes: Any, count: int) -> tuple[str, tuple[str, ...]]:
    """Return the names of the axes as one text, and their units."""
    if axes is None and count == len(_OLD_AXES):
        axes = list(_OLD_AXES)
    listed = axes if isinstance(axes, list) else []
    # Version 0.3 lists names, later ones objects.
    items = [{"name": axis} if isinstance(axis, str) else axis for axis in listed]
    if not items or not all(isinstance(axis, dict) for axis in items):
        raise ValueError(f"the axes {axes} are not understood: {_AXES}")
    names = [str(axis.get("name")).lower() for axis in items]  # iohub writes capital letters
    known = names[-2:] == ["y", "x"] and set(names[:-2]) <= set("tcz")
    if not known or len(set(names)) < len(names):
        raise ValueError(f"the axes {' '.join(names)} are not understood: {_AXES}")
    if len(names) != count:
        raise ValueError(f"its array has {count} dimensions, but {len(names)} axes are listed")
    return "".join(names), tuple(str(axis.get("unit") or "") for axis in items)


def _read_channels(omero: Any, count: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return names and colours of the channels."""
    listed = omero.get("channels") if isinstance(omero, dict) else None
    if not isinstance(listed, list) or not listed:
        return tuple(str(number) for number in range(1, count + 1)), ("",) * count
    if len(listed) != count or not all(isinstance(channel, dict) for channel in listed):
        raise ValueError(f"it has {count} channels, but omero describes {len(listed)}")
    names = {
        str(number): str(channel.get("label") or "").strip() or str(number)
        for number, channel in enumerate(listed, start=1)
    }
    colors = [_COLOR.fullmatch(str(channel.get("color"))) for channel in listed]
    found = tuple(color[1].upper() if color else "" for color in colors)
    return tuple(unique_channels(names).values()), found


def _read_pixel_size(
    multiscale: dict[str, Any], dataset: dict[str, Any], axes: str, units: Sequence[str]
) -> tuple[float | None, str]:
    """Return the pixel size in micrometres, or why the image's scales do not give it."""
    owners = dataset, multiscale
    if unclear := next(filter(None, map(_find_unclear, owners)), ""):
        return None, unclear
    scales = [scale for owner in owners if (scale := _read_scale(owner, len(axes))) is not None]
    if not scales:
        return None, ""
    scale = [math.prod(values) for values in zip(*scales, strict=True)]
    height, width = (
        value * _MICROMETRES.get(unit, 1) for value, unit in zip(scale, units[-2:], strict=True)
    )
    if not math.isclose(height, width, rel_tol=_SQUARE) or units[-2] != units[-1]:
        sizes = [f"{value:g} {unit}".strip() for value, unit in zip(scale, units[-2:], strict=True)]
        raise ValueError(f"its pixels are {' by '.join(sizes)} (y by x): expected squares")
    # Products such as 162.5 nm x 0.001 end in rounding errors.
    size = float(f"{width:.9g}")
    if units[-1] in _MICROMETRES:
        return size, ""
    return None, "" if size == 1 else f"the scale {size:g} has no unit"


def _find_unclear(owner: dict[str, Any]) -> str:
    """Return why the transformations of a dataset or a multiscale are not understood, or nothing.

    OME-Zarr has at most one scale and one translation; what others do to the scale is not known.
    """
    steps = owner.get("coordinateTransformations") or []
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        return "the coordinateTransformations are no list of objects"
    types = [str(step.get("type")) for step in steps]
    if set(types) <= _KNOWN_STEPS and types.count("scale") < 2:
        return ""
    return f"the coordinateTransformations ({', '.join(types)}) are not understood"


def _read_scale(owner: dict[str, Any], count: int) -> list[float] | None:
    """Return the scale of y and x that a dataset or a multiscale gives; None if it gives none."""
    steps = owner.get("coordinateTransformations") or []
    scales = [step.get("scale") for step in steps if step["type"] == "scale"]
    if not scales:
        return None
    [scale] = scales
    if (
        not isinstance(scale, list)
        or len(scale) != count
        or not all(isinstance(value, int | float) and 0 < value < math.inf for value in scale[-2:])
    ):
        raise ValueError(f"the scale {scale} is not understood: expected {count} numbers above 0")
    return [float(value) for value in scale[-2:]]
