"""Writes one plate of a store: its fields in parallel, at once or in parts, then its metadata.

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
from phenomae.store.measures import Measures
from phenomae.store.metadata import image_attributes, write_group, write_plate_groups
from phenomae.store.parts import Part
from phenomae.store.quality import count_levels, measure_quality, quality_columns
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
    fields = inventory.fields_of[plate]
    shrink = None
    if inventory.dtype != inventory.raw_dtypes[plate]:
        sample = set(sample_fields(fields, inventory.settings.window_fields))
        counted = list(crew.map(_count_raw, sorted(sample, key=fields.index)))
        bad = [counts for counts in counted if isinstance(counts, Problem)]
        if len(bad) == len(fields):
            return pl.DataFrame(schema=FIELD_COLUMNS), bad
        shrink = _find_windows(plate, counted, inventory.settings, lossless=True)
    part = Part(plate, range(len(fields)), True)
    measured, problems = write_fields(folder, part, inventory, crew, advance, shrink)
    return finish_plate(folder, plate, inventory, measured, shrink), problems


def write_fields(
    folder: Path | str,
    part: Part,
    inventory: Inventory,
    crew: Executor,
    advance: Advance,
    shrink: _Windows | None = None,
) -> tuple[list[Measures], list[Problem]]:
    """Write fields of one plate, except those that an earlier call has written.

    `shrink` are the windows that are scaled to 8 bits; None leaves pixels as they are. Returns the
    measures of the fields, and the problems of those that cannot be decoded. Raises OSError if
    writing fails.
    """
    table = inventory.table.filter(pl.col("plate") == part.plate)
    fields = inventory.fields_of[part.plate]
    # Windows are those of the whole plate.
    sample = set(sample_fields(fields, inventory.settings.window_fields))
    samples = inventory.raw_dtypes[part.plate] == "uint16" and shrink is None
    jobs = [
        _Job(fields[place], table["path"][place], samples and fields[place] in sample)
        for place in part.fields
    ]
    measured: list[Measures] = []
    problems: list[Problem] = []
    write = partial(_write_field, folder, shrink)
    for done in crew.map(_measure_field if inventory.settings.in_place else write, jobs):
        measured.append(done) if isinstance(done, Measures) else problems.append(done)
        advance()
    return measured, problems


def finish_plate(
    folder: Path | str,
    plate: str,
    inventory: Inventory,
    measured: list[Measures],
    shrink: _Windows | None = None,
) -> pl.DataFrame:
    """Write the metadata of a plate whose fields are written, and return its table rows.

    `measured` has all fields of the plate that could be decoded, in their order. Raises ValueError
    if none of the sampled fields is among them.
    """
    if not measured:
        return pl.DataFrame(schema=FIELD_COLUMNS)
    _report_blank(plate, inventory.raw.channels, measured)
    _report_clipped(plate, inventory.raw.channels, measured)
    windows = raw_windows = np.tile(BYTE_WINDOW, (len(inventory.raw.channels), 1))
    if shrink is not None:
        raw_windows = shrink
    elif inventory.raw_dtypes[plate] == "uint16":
        levels = [done.levels for done in measured]
        windows = raw_windows = _find_windows(plate, levels, inventory.settings)
    table = inventory.table.filter(pl.col("plate") == plate)
    rows = _finish_rows(table, measured, windows)
    if not inventory.settings.in_place:
        _write_metadata(folder, plate, rows["path"].to_list(), inventory, windows, raw_windows)
    return rows


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


def _write_field(folder: Path | str, shrink: _Windows | None, job: _Job) -> Measures | Problem:
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


def _measure_field(job: _Job) -> Measures | Problem:
    """Measure one field that is left where it is."""
    read = _read(job.field)
    return read if isinstance(read, Problem) else _measure(job, *read)


def _measure(job: _Job, pixels: UInt[np.ndarray, "c h w"], clipped: tuple[int, ...]) -> Measures:
    levels = count_levels(pixels)
    quality = measure_quality(pixels, levels)
    blank = tuple(bool(used == 1) for used in np.count_nonzero(levels, axis=1))
    kept = levels if job.sampled else None
    return Measures(job.path, checksum(pixels), quality, blank, clipped, kept)


def _report_blank(plate: str, channels: Sequence[str], measured: list[Measures]) -> None:
    """Print in how many fields of the plate a channel has one value everywhere, as if unlit."""
    for channel, blank in zip(
        channels, zip(*(done.blank for done in measured), strict=True), strict=True
    ):
        if count := sum(blank):
            fields = (
                "all fields" if count == len(measured) else f"{count} of {len(measured)} fields"
            )
            info(f"plate {plate}, channel {channel}: {fields} have the same value everywhere")


def _report_clipped(plate: str, channels: Sequence[str], measured: list[Measures]) -> None:
    """Print how many pixels of the fields that this call has read are outside of value_range."""
    counts = [done.clipped for done in measured if done.clipped]
    for channel, pixels in zip(channels, zip(*counts, strict=True), strict=False):
        if sum(pixels):
            fields = count_of(sum(map(bool, pixels)), "field")
            outside = count_of(sum(pixels), "pixel")
            info(f"plate {plate}, channel {channel}: clipped {outside} of {fields} to value_range")


def _finish_rows(table: pl.DataFrame, measured: list[Measures], windows: _Windows) -> pl.DataFrame:
    """Return the complete table rows of the written fields, in the order of `table`."""
    count = len(measured)
    found = {
        "path": [done.path for done in measured],
        "checksum": [done.checksum for done in measured],
        "window_low": [windows[:, 0].tolist()] * count,
        "window_high": [windows[:, 1].tolist()] * count,
        **quality_columns([done.quality for done in measured]),
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
