"""Writes one plate of a store: its fields in parallel, then its windows and its metadata.

Every field is decoded once. Its grey levels are counted on the way, for windows and quality, except
when pixels are reduced to 8 bits: their windows must be known before the first field is written.
"""

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float64, Int64, UInt

from phenomae.images.fields import Problem, RawField
from phenomae.images.read import read_field
from phenomae.progress import Advance, info
from phenomae.records import FIELD_COLUMNS
from phenomae.store.inventory import IngestSettings, Inventory
from phenomae.store.metadata import image_attributes, write_group, write_plate_groups
from phenomae.store.quality import Quality, count_levels, measure_quality, quality_columns
from phenomae.store.windows import (
    BYTE_WINDOW,
    find_windows,
    is_stretched,
    sample_fields,
    to_bytes,
)
from phenomae.store.write import checksum, read_if_whole, write_array
from phenomae.urls import below

_Windows = Float64[np.ndarray, "c 2"]


@dataclass(frozen=True)
class _Job:
    field: RawField
    path: str
    """Path of its image group in the store."""
    sampled: bool
    """Whether it belongs to the sample that the plate's windows are computed from."""


@dataclass(frozen=True)
class _Written:
    path: str
    checksum: str
    quality: Quality
    levels: Int64[np.ndarray, "c levels"] | None
    """Pixels of every grey level; None unless sampled, to send less between processes."""


def write_plate(
    folder: Path | str,
    plate: str,
    inventory: Inventory,
    crew: Executor,
    advance: Advance,
) -> tuple[pl.DataFrame, list[Problem]]:
    """Write one plate's metadata and those of its fields that are not there yet.

    Returns the finished rows of the plate's fields, and what is wrong with the fields that could
    not be decoded, which have no row. Raises OSError if the disk is full or the server refuses, and
    ValueError if no window can be found.
    """
    table = inventory.table.filter(pl.col("plate") == plate)
    fields = [field for field in inventory.raw.fields if field.plate == plate]
    sample = set(sample_fields(fields, inventory.settings.window_fields))
    raw_dtype = inventory.raw_dtypes[plate]
    shrinks = inventory.dtype != raw_dtype
    raw_windows = np.tile(BYTE_WINDOW, (len(inventory.raw.channels), 1))
    if shrinks:
        counted = list(crew.map(_count_raw, sorted(sample, key=fields.index)))
        bad = [counts for counts in counted if isinstance(counts, Problem)]
        if len(bad) == len(fields):
            return pl.DataFrame(schema=FIELD_COLUMNS), bad
        raw_windows = _find_windows(plate, counted, inventory.settings, lossless=True)
    jobs = [
        _Job(field, path, field in sample and raw_dtype == "uint16" and not shrinks)
        for field, path in zip(fields, table["path"], strict=True)
    ]
    written: list[_Written] = []
    problems: list[Problem] = []
    for done in crew.map(partial(_write_field, folder, raw_windows if shrinks else None), jobs):
        written.append(done) if isinstance(done, _Written) else problems.append(done)
        advance()
    if not written:
        return pl.DataFrame(schema=FIELD_COLUMNS), problems
    if raw_dtype == "uint16" and not shrinks:
        raw_windows = _find_windows(plate, [done.levels for done in written], inventory.settings)
    windows = np.tile(BYTE_WINDOW, (len(raw_windows), 1)) if shrinks else raw_windows
    rows = _finish_rows(table, written, windows)
    _write_metadata(folder, plate, rows["path"].to_list(), inventory, windows, raw_windows)
    return rows, problems


def _write_metadata(
    folder: Path | str,
    plate: str,
    paths: list[str],
    inventory: Inventory,
    windows: _Windows,
    raw_windows: _Windows,
) -> None:
    """Write the OME-Zarr groups of one plate's images, wells and rows, and its own."""
    channels = inventory.raw.channels
    attributes = image_attributes(channels, windows, inventory.dtype, inventory.pixel_size_um)
    for path in paths:
        write_group(below(folder, path), attributes)
    provenance = _describe(inventory, inventory.raw_dtypes[plate], raw_windows)
    write_plate_groups(below(folder, f"{plate}.zarr"), plate, paths, provenance)


def _count_raw(field: RawField) -> Int64[np.ndarray, "c levels"] | Problem:
    pixels = _read(field)
    return pixels if isinstance(pixels, Problem) else count_levels(pixels)


def _read(field: RawField) -> UInt[np.ndarray, "c h w"] | Problem:
    try:
        return read_field(field)
    except ValueError as error:
        return Problem(str(error), field.plate, field.well, field.site)


def _find_windows(
    plate: str,
    counted: Sequence[Int64[np.ndarray, "c levels"] | Problem | None],
    settings: IngestSettings,
    lossless: bool = False,
) -> _Windows:
    """Return the windows of a plate's raw pixels.

    With `lossless` pixels that are 8-bit values times 257 get the window 0 to 65535, which brings
    them back to 8 bits unchanged.
    """
    levels = [counts for counts in counted if isinstance(counts, np.ndarray)]
    if not levels:
        raise ValueError(
            f"plate {plate}: none of the fields that its windows are computed from can be decoded; "
            "increase window_fields"
        )
    total = np.sum(levels, axis=0)
    if lossless and is_stretched(total):
        info(
            f"plate {plate}: its 16-bit pixels are 8-bit values times 257 and convert without loss"
        )
        return np.tile((0.0, 65535.0), (len(total), 1))
    return find_windows(total, settings)


def _write_field(folder: Path | str, shrink: _Windows | None, job: _Job) -> _Written | Problem:
    """Write one field unless an earlier call did, and compute its checksum and quality."""
    location = below(folder, f"{job.path}/0")
    # A field from before a stop is read from the store, faster than decoding its raw files again.
    pixels: UInt[np.ndarray, "c h w"] | Problem | None = read_if_whole(location)
    if pixels is None:
        pixels = _read(job.field)
        if isinstance(pixels, Problem):
            return pixels
        if shrink is not None:
            pixels = to_bytes(pixels, shrink)
        write_array(location, pixels)
    levels = count_levels(pixels)
    quality = measure_quality(pixels, levels)
    return _Written(job.path, checksum(pixels), quality, levels if job.sampled else None)


def _finish_rows(table: pl.DataFrame, written: list[_Written], windows: _Windows) -> pl.DataFrame:
    """Return the complete rows of the fields that were written, in the order of the table."""
    count = len(written)
    found = {
        "path": [done.path for done in written],
        "checksum": [done.checksum for done in written],
        "window_low": [windows[:, 0].tolist()] * count,
        "window_high": [windows[:, 1].tolist()] * count,
        **quality_columns([done.quality for done in written]),
    }
    kinds = {name: FIELD_COLUMNS[name] for name in found}
    rows = table.join(pl.DataFrame(found, kinds), on="path", how="inner", maintain_order="left")
    return rows.select(list(FIELD_COLUMNS))


def _describe(inventory: Inventory, raw_dtype: str, raw_windows: _Windows) -> dict[str, Any]:
    """Return how a plate's stored pixels were made from its raw ones."""
    settings = inventory.settings
    sampled = "8-bit pixels keep the window 0 to 255"
    if raw_dtype == "uint16":
        sampled = (
            f"percentiles {settings.low_percentile} and {settings.high_percentile} of the first "
            f"{settings.window_fields} fields by SHA-256 of plate/well/site"
        )
    return {
        "raw_dtype": raw_dtype,
        "dtype": inventory.dtype,
        "raw_windows": dict(zip(inventory.raw.channels, raw_windows.tolist(), strict=True)),
        "sampled": sampled,
    }
