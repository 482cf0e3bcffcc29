"""Writes one plate of a store: its windows, its metadata, and its fields in parallel."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float64

from phenomae.images.fields import RawField
from phenomae.images.read import in_parallel, read_field
from phenomae.progress import Tracker
from phenomae.store.metadata import (
    image_attributes,
    read_making,
    write_group,
    write_plate_groups,
)
from phenomae.store.plan import IngestSettings, Plan
from phenomae.store.windows import BYTE_WINDOW, measure_windows, to_bytes
from phenomae.store.write import checksum, checksum_if_whole, write_array


def write_plate(
    folder: Path,
    fields: list[RawField],
    plan: Plan,
    settings: IngestSettings,
    advance: Tracker,
) -> tuple[Float64[np.ndarray, "c 2"], list[str]]:
    """Write the fields of one plate that are not there yet.

    Returns the windows of the plate's stored pixels and its fields' checksums. Raises ValueError
    where a file cannot be decoded and OSError where the disk does not take it.
    """
    plate, channels = fields[0].plate, plan.screen.channels
    raw_dtype = plan.raw_dtypes[plate]
    raw_windows = _find_windows(folder / f"{plate}.zarr", fields, plan, settings)
    shrink = raw_windows if plan.dtype != raw_dtype else None
    windows = raw_windows if shrink is None else np.tile(BYTE_WINDOW, (len(channels), 1))
    attributes = image_attributes(channels, windows, plan.dtype, settings.pixel_size_um)
    paths = plan.table.filter(pl.col("plate") == plate)["path"]
    write = partial(_write_field, folder, attributes, shrink)
    checksums: list[str] = []
    for found in in_parallel(write, list(zip(fields, paths, strict=True)), plan.workers):
        checksums.append(found)
        advance()
    return windows, checksums


def _find_windows(
    folder: Path, fields: list[RawField], plan: Plan, settings: IngestSettings
) -> Float64[np.ndarray, "c 2"]:
    """Return the windows of the raw pixels, measured once and written into the plate's metadata."""
    channels, raw_dtype = plan.screen.channels, plan.raw_dtypes[fields[0].plate]
    making = read_making(folder)
    if making is not None:
        return np.array([making["raw_windows"][name] for name in channels])
    if raw_dtype == "uint16":
        windows = measure_windows(fields, settings, plan.workers)
        sampled = (
            f"percentiles {settings.low_percentile} and {settings.high_percentile} of the first "
            f"{settings.window_fields} fields by SHA-256 of plate/well/site"
        )
    else:
        windows = np.tile(BYTE_WINDOW, (len(channels), 1))
        sampled = "8-bit pixels keep the window 0 to 255"
    making = {
        "raw_dtype": raw_dtype,
        "dtype": plan.dtype,
        "raw_windows": dict(zip(channels, windows.tolist(), strict=True)),
        "sampled": sampled,
    }
    images: dict[str, int] = {}
    for field in fields:
        images[field.well] = images.get(field.well, 0) + 1
    write_plate_groups(folder, fields[0].plate, images, making)
    return windows


def _write_field(
    folder: Path,
    attributes: dict[str, Any],
    shrink: Float64[np.ndarray, "c 2"] | None,
    item: tuple[RawField, str],
) -> str:
    """Write one field, unless an earlier, stopped call did, and return its checksum."""
    field, path = item
    found = checksum_if_whole(folder / path / "0")
    if found is not None:
        return found
    pixels = read_field(field)
    if shrink is not None:
        pixels = to_bytes(pixels, shrink)
    write_group(folder / path, attributes)
    write_array(folder / path / "0", pixels)
    return checksum(pixels)
