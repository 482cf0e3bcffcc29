"""Writes one plate of a store: its fields in parallel, then its metadata.

Every field is decoded once, for the pixels, the intensity windows and the quality measures. Only if
16-bit pixels are converted to 8 bits, the sampled fields are decoded a second time, because the
windows must be known before the first field is written.
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
from phenomae.images.read import read_clipped
from phenomae.progress import Advance, count_of, info
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
    """Path of the field's image group in the store."""
    sampled: bool
    """Whether the field is in the sample from which the plate's windows are computed; false for all
    fields if the windows are already known."""


@dataclass(frozen=True)
class _Written:
    path: str
    checksum: str
    quality: Quality
    blank: tuple[bool, ...]
    """Whether all pixels of a channel have the same value."""
    clipped: tuple[int, ...]
    """Number of pixels of each channel that are outside of the setting value_range; empty if an
    earlier call has written the field."""
    levels: Int64[np.ndarray, "c levels"] | None
    """Number of pixels of every grey level. None if the field is not sampled, because the array is
    large (0.5 MB per 16-bit channel) to send between processes."""


def write_plate(
    folder: Path | str,
    plate: str,
    inventory: Inventory,
    crew: Executor,
    advance: Advance,
) -> tuple[pl.DataFrame, list[Problem]]:
    """Write one plate's metadata and fields, except the fields that an earlier call has written.

    Returns the table rows of the plate's fields, and the problems of the fields that cannot be
    decoded, which have no row. Raises OSError if writing fails, and ValueError if none of the
    sampled fields can be decoded.
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
    write = partial(_write_field, folder, raw_windows if shrinks else None)
    for done in crew.map(_measure_field if inventory.settings.in_place else write, jobs):
        written.append(done) if isinstance(done, _Written) else problems.append(done)
        advance()
    if not written:
        return pl.DataFrame(schema=FIELD_COLUMNS), problems
    _report_blank(plate, inventory.raw.channels, written)
    _report_clipped(plate, inventory.raw.channels, written)
    if raw_dtype == "uint16" and not shrinks:
        raw_windows = _find_windows(plate, [done.levels for done in written], inventory.settings)
    windows = np.tile(BYTE_WINDOW, (len(raw_windows), 1)) if shrinks else raw_windows
    rows = _finish_rows(table, written, windows)
    if not inventory.settings.in_place:
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
    """Write the OME-Zarr groups of one plate: images, wells, rows, and the plate itself."""
    channels = inventory.raw.channels
    size, colors = inventory.pixel_size_um, inventory.raw.colors
    attributes = image_attributes(channels, windows, inventory.dtype, size, colors)
    for path in paths:
        write_group(below(folder, path), attributes)
    provenance = _describe(inventory, inventory.raw_dtypes[plate], raw_windows)
    write_plate_groups(below(folder, f"{plate}.zarr"), plate, paths, provenance)


def _count_raw(field: RawField) -> Int64[np.ndarray, "c levels"] | Problem:
    read = _read(field)
    return read if isinstance(read, Problem) else count_levels(read[0])


def _read(field: RawField) -> tuple[UInt[np.ndarray, "c h w"], tuple[int, ...]] | Problem:
    try:
        return read_clipped(field)
    except ValueError as error:
        return Problem(str(error), field.plate, field.well, field.site)


def _find_windows(
    plate: str,
    counted: Sequence[Int64[np.ndarray, "c levels"] | Problem | None],
    settings: IngestSettings,
    lossless: bool = False,
) -> _Windows:
    """Return the intensity windows of a plate's raw pixels.

    With `lossless`, pixels that are 8-bit values times 257 get the window 0 to 65535, so that the
    conversion to 8 bits restores the original values.
    """
    levels = [counts for counts in counted if isinstance(counts, np.ndarray)]
    if not levels:
        raise ValueError(
            f"plate {plate}: no field sampled for its intensity windows (window_fields = "
            f"{settings.window_fields}) can be decoded; increase window_fields"
        )
    total = np.sum(levels, axis=0)
    if lossless and is_stretched(total):
        info(f"plate {plate}: the 16-bit pixels are 8-bit values times 257, so 8 bits lose nothing")
        return np.tile((0.0, 65535.0), (len(total), 1))
    return find_windows(total, settings)


def _write_field(folder: Path | str, shrink: _Windows | None, job: _Job) -> _Written | Problem:
    """Write one field unless an earlier call has; return its checksum and quality measures."""
    location = below(folder, f"{job.path}/0")
    # Reading a field that an interrupted call has written is faster than decoding its raw files.
    pixels, clipped = read_if_whole(location), ()
    if pixels is None:
        read = _read(job.field)
        if isinstance(read, Problem):
            return read
        pixels, clipped = read
        if shrink is not None:
            pixels = to_bytes(pixels, shrink)
        write_array(location, pixels)
    return _measure(job, pixels, clipped)


def _measure_field(job: _Job) -> _Written | Problem:
    """Measure one field that is left where it is."""
    read = _read(job.field)
    return read if isinstance(read, Problem) else _measure(job, *read)


def _measure(job: _Job, pixels: UInt[np.ndarray, "c h w"], clipped: tuple[int, ...]) -> _Written:
    levels = count_levels(pixels)
    quality = measure_quality(pixels, levels)
    blank = tuple(bool(used == 1) for used in np.count_nonzero(levels, axis=1))
    kept = levels if job.sampled else None
    return _Written(job.path, checksum(pixels), quality, blank, clipped, kept)


def _report_blank(plate: str, channels: Sequence[str], written: list[_Written]) -> None:
    """Print in how many fields of the plate a channel has one value everywhere, as if unlit."""
    for channel, blank in zip(
        channels, zip(*(done.blank for done in written), strict=True), strict=True
    ):
        if count := sum(blank):
            fields = "all fields" if count == len(written) else f"{count} of {len(written)} fields"
            info(f"plate {plate}, channel {channel}: {fields} have the same value everywhere")


def _report_clipped(plate: str, channels: Sequence[str], written: list[_Written]) -> None:
    """Print how many pixels of the fields that this call has read are outside of value_range."""
    counts = [done.clipped for done in written if done.clipped]
    for channel, pixels in zip(channels, zip(*counts, strict=True), strict=False):
        if sum(pixels):
            fields = count_of(sum(map(bool, pixels)), "field")
            outside = count_of(sum(pixels), "pixel")
            info(f"plate {plate}, channel {channel}: clipped {outside} of {fields} to value_range")


def _finish_rows(table: pl.DataFrame, written: list[_Written], windows: _Windows) -> pl.DataFrame:
    """Return the complete table rows of the written fields, in the order of `table`."""
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
    """Return how a plate's stored pixels were computed from its raw pixels."""
    settings = inventory.settings
    sampled = "8-bit pixels keep the window 0 to 255"
    if raw_dtype == "uint16":
        sampled = (
            f"percentiles {settings.low_percentile} and {settings.high_percentile} of the first "
            f"{settings.window_fields} fields by SHA-256 of plate/well/site"
        )
    scaled = {"value_range": list(settings.value_range)} if settings.value_range else {}
    return {
        "raw_dtype": raw_dtype,
        **scaled,
        "dtype": inventory.dtype,
        "raw_windows": dict(zip(inventory.raw.channels, raw_windows.tolist(), strict=True)),
        "sampled": sampled,
    }
