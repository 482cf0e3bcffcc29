"""Writes one plate of a store: its fields in parallel, then its windows and its metadata."""

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
    """Of its image group, in the store."""
    sampled: bool
    """Whether the plate's windows are taken from it."""


@dataclass(frozen=True)
class _Written:
    path: str
    checksum: str
    quality: Quality
    levels: Int64[np.ndarray, "c levels"] | None


def write_plate(
    folder: Path | str,
    plate: str,
    inventory: Inventory,
    settings: IngestSettings,
    crew: Executor,
    advance: Advance,
) -> tuple[pl.DataFrame, list[Problem]]:
    """Write the fields of one plate that are not there yet, and its metadata.

    Returns the plate's rows of the table, finished, and what is wrong with the fields that could
    not be decoded, which have none. Raises OSError where the disk does not take it, and ValueError
    where no window can be found.
    """
    table = inventory.table.filter(pl.col("plate") == plate)
    fields = [field for field in inventory.screen.fields if field.plate == plate]
    sample = set(sample_fields(fields, settings.window_fields))
    raw_dtype = inventory.raw_dtypes[plate]
    shrinks = inventory.dtype != raw_dtype
    raw_windows = np.tile(BYTE_WINDOW, (len(inventory.screen.channels), 1))
    if shrinks:
        counted = list(crew.map(_count_raw, sorted(sample, key=fields.index)))
        bad = [counts for counts in counted if isinstance(counts, Problem)]
        if len(bad) == len(fields):
            return pl.DataFrame(schema=FIELD_COLUMNS), bad
        raw_windows = _find_windows(plate, counted, settings, lossless=True)
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
        raw_windows = _find_windows(plate, [done.levels for done in written], settings)
    windows = np.tile(BYTE_WINDOW, (len(raw_windows), 1)) if shrinks else raw_windows
    rows = _finish_rows(table, written, windows)
    attributes = image_attributes(
        inventory.screen.channels, windows, inventory.dtype, inventory.pixel_size_um
    )
    for path in rows["path"]:
        write_group(below(folder, path), attributes)
    making = _describe(inventory, raw_dtype, raw_windows, settings)
    write_plate_groups(below(folder, f"{plate}.zarr"), plate, rows["path"].to_list(), making)
    return rows, problems


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
    """Return the windows of raw pixels; with `lossless` all of them where those are 8-bit ones."""
    levels = [counts for counts in counted if isinstance(counts, np.ndarray)]
    if not levels:
        raise ValueError(
            f"plate {plate}: none of the fields that its windows are taken from can be decoded; "
            "take more with --window-fields"
        )
    total = np.sum(levels, axis=0)
    if lossless and is_stretched(total):
        info(
            f"plate {plate}: its 16-bit pixels are 8-bit ones times 257, and are kept without loss"
        )
        return np.tile((0.0, 65535.0), (len(total), 1))
    return find_windows(total, settings)


def _write_field(folder: Path | str, shrink: _Windows | None, job: _Job) -> _Written | Problem:
    """Write one field, unless an earlier, stopped call did, and measure it."""
    location = below(folder, f"{job.path}/0")
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
    """Return the rows of the fields that were written, with all columns."""
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


def _describe(
    inventory: Inventory, raw_dtype: str, raw_windows: _Windows, settings: IngestSettings
) -> dict[str, Any]:
    """Return how a plate's pixels became what they are."""
    sampled = "8-bit pixels keep the window 0 to 255"
    if raw_dtype == "uint16":
        sampled = (
            f"percentiles {settings.low_percentile} and {settings.high_percentile} of the first "
            f"{settings.window_fields} fields by SHA-256 of plate/well/site"
        )
    return {
        "raw_dtype": raw_dtype,
        "dtype": inventory.dtype,
        "raw_windows": dict(zip(inventory.screen.channels, raw_windows.tolist(), strict=True)),
        "sampled": sampled,
    }
