"""All that an ingest knows before it reads a pixel: what lies there, joined and checked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl
from cyclopts import Parameter

from phenomae.artefacts import Origin, hash_json, settings_dict
from phenomae.cores import available_cores
from phenomae.images.fields import RawField, RawScreen
from phenomae.images.platemap import (
    PlateMapSettings,
    find_plate_map,
    match_wells,
    read_plate_map,
)
from phenomae.images.read import FieldHeader, LayoutSettings, list_fields, read_headers
from phenomae.progress import say
from phenomae.store.read import KIND
from phenomae.store.table import field_table
from phenomae.store.windows import WindowSettings, check_windows


@Parameter(name="*")
@dataclass(frozen=True)
# The fields of the last base come first: in --help, where files lie before how they are scaled.
class IngestSettings(WindowSettings, PlateMapSettings, LayoutSettings):
    """How raw plates become a store."""

    bits: Literal[8, 16] = 16
    """16 keeps pixels as they are, 8-bit files too; 8 makes bytes of them through the windows."""
    pixel_size_um: float | None = None
    """Micrometres a pixel; None where it is not known."""
    workers: int | None = None
    """Threads that read and write; None takes one a core, 8 at most. The bytes do not depend on
    it."""
    dry_run: bool = False
    """List what would be read, report what is wrong with it, and write nothing."""


# Where files lie and how fast they are read is no part of what a store is.
_NOT_IDENTITY = ("plate_map", "barcode_map", "images", "workers", "dry_run")


@dataclass(frozen=True)
class Plan:
    """What will be read and what it will become."""

    screen: RawScreen
    headers: list[FieldHeader]
    """One a field, in the order of the screen's fields."""
    raw_dtypes: dict[str, str]
    """Of every plate's files."""
    dtype: str
    """Of the stored pixels."""
    table: pl.DataFrame
    """The store's table, as far as it is known by now."""
    plate_map: Path | None
    origin: Origin
    workers: int


def plan_ingest(raw: Path, settings: IngestSettings) -> Plan:
    """List, join and check everything; raises ValueError for whatever is wrong."""
    _check(settings)
    workers = settings.workers or min(available_cores(), 8)
    screen = list_fields(raw, settings)
    path = find_plate_map(raw, settings)
    plate_map = None
    if path is not None:
        plate_map = read_plate_map(path, settings, screen.plates)
        screen = match_wells(screen, plate_map, path, settings)
    elif settings.control_label is not None:
        raise ValueError(
            f"control_label {settings.control_label!r} needs a plate map: there is no "
            f"plate_map.csv in {raw}, so name it with plate_map"
        )
    else:
        say("no plate map: wells carry no perturbation and none is a control")
    headers = read_headers(screen, raw, workers)
    raw_dtypes = _plate_dtypes(raw, screen, headers)
    dtype = _stored_dtype(raw, raw_dtypes, settings.bits)
    table = field_table(screen, headers, plate_map)
    origin = _origin(screen, headers, dtype, table, settings)
    return Plan(screen, headers, raw_dtypes, dtype, table, path, origin, workers)


def _check(settings: IngestSettings) -> None:
    check_windows(settings)
    if settings.pixel_size_um is not None and not 0 < settings.pixel_size_um < 1e4:
        raise ValueError(f"pixel_size_um must be above 0, not {settings.pixel_size_um}")
    if settings.workers is not None and settings.workers < 1:
        raise ValueError(f"workers must be at least 1, not {settings.workers}")


def _plate_dtypes(raw: Path, screen: RawScreen, headers: list[FieldHeader]) -> dict[str, str]:
    first: dict[str, tuple[str, RawField]] = {}
    for field, header in zip(screen.fields, headers, strict=True):
        dtype, other = first.setdefault(field.plate, (header.dtype, field))
        if dtype != header.dtype:
            raise ValueError(
                f"{raw}: {field} is {header.dtype}, but {other} is {dtype}: "
                "a plate must be of one type"
            )
    return {plate: dtype for plate, (dtype, _) in first.items()}


def _stored_dtype(raw: Path, raw_dtypes: dict[str, str], bits: int) -> str:
    if bits == 8:
        return "uint8"
    plates = {dtype: plate for plate, dtype in raw_dtypes.items()}
    if len(plates) > 1:
        raise ValueError(
            f"{raw}: plate {plates['uint8']} is uint8, but plate {plates['uint16']} is uint16: "
            "put them into two stores, or make all 8-bit with --bits 8"
        )
    return next(iter(plates))


def _origin(
    screen: RawScreen,
    headers: list[FieldHeader],
    dtype: str,
    table: pl.DataFrame,
    settings: IngestSettings,
) -> Origin:
    """Return what makes the store: settings, files by name and size, and the wells' columns."""
    files = [
        (str(field), path.name, size)
        for field, header in zip(screen.fields, headers, strict=True)
        for path, size in zip(field.files, header.bytes, strict=True)
    ]
    sources = {"raw": hash_json(files), "wells": hash_json(table.rows())}
    kept = {
        key: value for key, value in settings_dict(settings).items() if key not in _NOT_IDENTITY
    }
    return Origin(KIND, kept | {"channels": list(screen.channels), "dtype": dtype}, sources)
