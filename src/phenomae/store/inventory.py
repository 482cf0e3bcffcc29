"""All that an ingest knows before it reads a pixel: what lies there, joined and checked."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import polars as pl
from cyclopts import Parameter

from phenomae.artefacts import Origin, hash_json, settings_dict
from phenomae.cores import available_cores
from phenomae.images.fields import Problem, RawField, RawPlates, raise_problems
from phenomae.images.pixels.open_image import name_of
from phenomae.images.platemap.plate_map import (
    PlateMapSettings,
    find_plate_map,
    match_wells,
    read_plate_map,
)
from phenomae.images.read import FieldHeader, list_fields, read_headers
from phenomae.images.settings import LayoutSettings
from phenomae.progress import info
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
    """Micrometres a pixel; without it what the layout's index says, if it says anything."""
    workers: int | None = None
    """Processes that read and write; None takes one a core. The bytes do not depend on it."""
    dry_run: bool = False
    """List what would be read, report what is wrong with it, and write nothing."""


# Where files lie, how fast they are read and what is done with bad ones is no part of what a store
# is: which fields it has is told by its table.
_NOT_IDENTITY = ("layout", "plate_map", "barcode_map", "images", "on_bad", "workers", "dry_run")


@dataclass(frozen=True)
class Inventory:
    """What will be read and what it will become."""

    screen: RawPlates
    """Of the fields whose files look whole."""
    headers: list[FieldHeader]
    """One a field, in the order of the screen's fields."""
    raw_dtypes: dict[str, str]
    """Of every plate's files."""
    dtype: str
    """Of the stored pixels."""
    pixel_size_um: float | None
    table: pl.DataFrame
    """The store's table, as far as it is known by now."""
    plate_map: Path | None
    problems: list[Problem]
    """What is wrong with the fields that are left out."""
    origin: Origin
    workers: int


def take_inventory(raw: Path, settings: IngestSettings) -> Inventory:
    """List, join and check everything; raises ValueError for whatever is wrong with all of it.

    What is wrong with single fields stands in `Inventory.problems`.
    """
    _check(settings)
    workers = settings.workers or available_cores()
    screen = list_fields(raw, settings)
    path, plate_map = _find_wells(raw, screen, settings)
    if plate_map is not None:
        screen = match_wells(screen, plate_map, path or raw, settings)
    found, wrong = read_headers(screen.fields, workers)
    problems = [*screen.skipped, *wrong]
    whole = [header is not None for header in found]
    if not any(whole):
        raise_problems(raw, problems or ["no field is whole"])
    fields = tuple(field for field, is_whole in zip(screen.fields, whole, strict=True) if is_whole)
    screen, headers = replace(screen, fields=fields), [item for item in found if item is not None]
    raw_dtypes = _plate_dtypes(raw, screen, headers)
    dtype = _stored_dtype(raw, raw_dtypes, settings.bits)
    table = field_table(screen, headers, plate_map)
    pixel_size_um = settings.pixel_size_um or _find_pixel_size(raw, screen)
    origin = _origin(screen, headers, dtype, table, replace(settings, pixel_size_um=pixel_size_um))
    return Inventory(
        screen, headers, raw_dtypes, dtype, pixel_size_um, table, path, problems, origin, workers
    )


def refuse_problems(raw: Path, problems: Sequence[Problem], settings: IngestSettings) -> None:
    """Raise ValueError for bad fields unless they may be skipped; all are named before."""
    if not problems:
        return
    if settings.on_bad == "skip":
        info(f"left out: {len(problems)} problems with fields, all told in ingest-report.csv")
        return
    for problem in problems:
        info(f"wrong: {problem}")
    raise_problems(raw, problems, " (--on-bad skip leaves such fields out)")


def _check(settings: IngestSettings) -> None:
    check_windows(settings)
    if settings.pixel_size_um is not None and not 0 < settings.pixel_size_um < 1e4:
        raise ValueError(f"pixel_size_um must be above 0, not {settings.pixel_size_um}")
    if settings.workers is not None and settings.workers < 1:
        raise ValueError(f"workers must be at least 1, not {settings.workers}")


def _find_wells(
    raw: Path, screen: RawPlates, settings: IngestSettings
) -> tuple[Path | None, pl.DataFrame | None]:
    """Return where the plate map lies, None where the layout brings it along, and the map."""
    path = find_plate_map(raw, settings)
    if path is not None:
        plates = sorted({screen.original_plates.get(plate, plate) for plate in screen.plate_names})
        return path, _repeat_wells(read_plate_map(path, settings, plates), screen)
    if screen.wells is not None:
        return None, _repeat_wells(screen.wells, screen)
    if settings.control_label is not None:
        raise ValueError(
            f"control_label {settings.control_label!r} needs a plate map: there is no "
            f"plate_map.csv in {raw}, so name it with plate_map"
        )
    info("no plate map: wells carry no perturbation and none is a control")
    return None, None


def _repeat_wells(plate_map: pl.DataFrame, screen: RawPlates) -> pl.DataFrame:
    """Return a plate map with the wells of a plate for its later imagings, too."""
    later = [
        plate_map.filter(pl.col("plate") == plate).with_columns(plate=pl.lit(name))
        for name, plate in screen.original_plates.items()
    ]
    return pl.concat([plate_map, *later])


def _plate_dtypes(raw: Path, screen: RawPlates, headers: list[FieldHeader]) -> dict[str, str]:
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


def _find_pixel_size(raw: Path, screen: RawPlates) -> float | None:
    """Return the pixel size that the index tells of all plates alike."""
    sizes = {screen.pixel_sizes_um.get(plate) for plate in screen.plate_names}
    if len(sizes) > 1:
        told = ", ".join(
            f"{plate} {screen.pixel_sizes_um.get(plate)}" for plate in screen.plate_names
        )
        raise ValueError(
            f"{raw}: its plates have pixels of different sizes, in micrometres: {told}; put them "
            "into stores of their own, or say with --pixel-size-um what all have"
        )
    return sizes.pop()


def _origin(
    screen: RawPlates,
    headers: list[FieldHeader],
    dtype: str,
    table: pl.DataFrame,
    settings: IngestSettings,
) -> Origin:
    """Return what makes the store: settings, files by name and size, and the wells' columns."""
    files = [
        (str(field), name_of(place), size)
        for field, header in zip(screen.fields, headers, strict=True)
        for place, size in zip(
            [place for image in field.images for place in image.planes], header.bytes, strict=True
        )
    ]
    sources = {"raw": hash_json(files), "wells": hash_json(table.rows())}
    kept = {
        key: value for key, value in settings_dict(settings).items() if key not in _NOT_IDENTITY
    }
    return Origin(KIND, kept | {"channels": list(screen.channels), "dtype": dtype}, sources)
