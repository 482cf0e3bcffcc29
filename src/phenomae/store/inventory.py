"""What an ingest finds out before it decodes a pixel: fields, plate map, sizes, types and problems.

Everything that can be checked from listings and headers is checked here, so that a wrong setting or
a missing file is reported in seconds and not after an hour of writing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import polars as pl
from cyclopts import Parameter

from phenomae.artefacts import Origin, hash_json, settings_dict
from phenomae.checks import at_least, between
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
from phenomae.store.windows import WindowSettings


@Parameter(name="*")
@dataclass(frozen=True)
# The fields of the last base come first in --help: where the files are, then how they are scaled.
class IngestSettings(WindowSettings, PlateMapSettings, LayoutSettings):
    """How raw plates are converted into a store."""

    bits: Literal[8, 16] = 16
    """16 stores pixels unchanged, 8-bit files too; 8 scales each channel's window to 0-255 and
    rounds."""
    pixel_size_um: float | None = None
    """Micrometres per pixel; None takes it from the layout's index, if it is there."""
    workers: int | None = None
    """Processes that read and write; None starts one per core. The bytes do not depend on it."""
    dry_run: bool = False
    """List what would be read, report what is wrong with it, and write nothing."""

    def __post_init__(self) -> None:
        WindowSettings.__post_init__(self)
        PlateMapSettings.__post_init__(self)
        LayoutSettings.__post_init__(self)
        between("pixel_size_um", self.pixel_size_um, 0, 10_000)
        at_least("workers", self.workers, 1)


# Settings that do not change a pixel: where files are, how fast they are read, and what happens to
# bad fields, since the table already says which fields a store has.
_NOT_IDENTITY = ("layout", "plate_map", "barcode_map", "images", "on_bad", "workers", "dry_run")


@dataclass(frozen=True)
class Inventory:
    """Everything that is known about a raw folder before a pixel is decoded."""

    path: Path
    """The raw folder, or its index file."""
    settings: IngestSettings
    raw: RawPlates
    """The fields whose files all have a sound header."""
    headers: list[FieldHeader]
    """One per field, in the order of `raw.fields`."""
    raw_dtypes: dict[str, str]
    """`uint8` or `uint16` for each plate's files."""
    dtype: str
    """That of the stored pixels."""
    pixel_size_um: float | None
    table: pl.DataFrame
    """The store's table of fields, without the columns that need pixels."""
    plate_map: Path | None
    """None if there is none, or if the layout brings it along."""
    problems: list[Problem]
    """What is wrong with the fields that are left out."""
    origin: Origin

    @property
    def workers(self) -> int:
        """Number of processes or threads that share the work."""
        return self.settings.workers or available_cores()


def take_inventory(path: Path, settings: IngestSettings) -> Inventory:
    """List and check the fields of a raw folder, and join them with the plate map.

    What is wrong with single fields is collected in `Inventory.problems`. Raises ValueError if
    something is wrong with all of them.
    """
    raw = list_fields(path, settings)
    map_path, plate_map = _find_wells(path, raw, settings)
    if plate_map is not None:
        raw = match_wells(raw, plate_map, map_path or path, settings)
    found, damaged = read_headers(raw.fields, settings.workers or available_cores())
    problems = [*raw.skipped, *damaged]
    pairs = [(field, header) for field, header in zip(raw.fields, found, strict=True) if header]
    if not pairs:
        raise_problems(path, problems or ["no field is whole"])
    raw = replace(raw, fields=tuple(field for field, _ in pairs))
    headers = [header for _, header in pairs]
    raw_dtypes = _plate_dtypes(path, raw, headers)
    dtype = _stored_dtype(path, raw_dtypes, settings.bits)
    table = field_table(raw, headers, plate_map)
    pixel_size_um = settings.pixel_size_um or _find_pixel_size(path, raw)
    return Inventory(
        path=path,
        settings=settings,
        raw=raw,
        headers=headers,
        raw_dtypes=raw_dtypes,
        dtype=dtype,
        pixel_size_um=pixel_size_um,
        table=table,
        plate_map=map_path,
        problems=problems,
        origin=_origin(raw, headers, dtype, table, replace(settings, pixel_size_um=pixel_size_um)),
    )


def refuse_problems(inventory: Inventory, problems: Sequence[Problem]) -> None:
    """Raise ValueError for bad fields, each printed before, unless `on_bad` is `skip`."""
    if not problems:
        return
    if inventory.settings.on_bad == "skip":
        info(f"left out: {len(problems)} problems with fields, all listed in ingest-report.csv")
        return
    for problem in problems:
        info(f"wrong: {problem}")
    raise_problems(inventory.path, problems, " (on_bad = skip leaves such fields out)")


def _find_wells(
    path: Path, raw: RawPlates, settings: IngestSettings
) -> tuple[Path | None, pl.DataFrame | None]:
    """Return the path of the plate map and the map.

    The path is None if the layout brings the map along, and both are None if there is no map.
    """
    map_path = find_plate_map(path, settings)
    if map_path is not None:
        plates = sorted({raw.original_plates.get(plate, plate) for plate in raw.plate_names})
        return map_path, _repeat_wells(read_plate_map(map_path, settings, plates), raw)
    if raw.wells is not None:
        return None, _repeat_wells(raw.wells, raw)
    if settings.control_label is not None:
        raise ValueError(
            f"control_label {settings.control_label!r} needs a plate map: there is no "
            f"plate_map.csv in {path}, so name it with plate_map"
        )
    info("no plate map: wells carry no perturbation and none is a control")
    return None, None


def _repeat_wells(plate_map: pl.DataFrame, raw: RawPlates) -> pl.DataFrame:
    """Return the plate map with the wells of every plate repeated for its later imagings.

    With `duplicates = apart` these are plates of their own, but the plate map knows only the first.
    """
    later = [
        plate_map.filter(pl.col("plate") == plate).with_columns(plate=pl.lit(name))
        for name, plate in raw.original_plates.items()
    ]
    return pl.concat([plate_map, *later])


def _plate_dtypes(path: Path, raw: RawPlates, headers: list[FieldHeader]) -> dict[str, str]:
    first: dict[str, tuple[str, RawField]] = {}
    for field, header in zip(raw.fields, headers, strict=True):
        dtype, other = first.setdefault(field.plate, (header.dtype, field))
        if dtype != header.dtype:
            raise ValueError(
                f"{path}: {field} is {header.dtype}, but {other} is {dtype}: "
                "a plate must be of one type"
            )
    return {plate: dtype for plate, (dtype, _) in first.items()}


def _stored_dtype(path: Path, raw_dtypes: dict[str, str], bits: int) -> str:
    if bits == 8:
        return "uint8"
    plates = {dtype: plate for plate, dtype in raw_dtypes.items()}
    if len(plates) > 1:
        raise ValueError(
            f"{path}: plate {plates['uint8']} is uint8, but plate {plates['uint16']} is uint16: "
            "ingest them into two stores, or convert all to 8 bits (bits = 8)"
        )
    return next(iter(plates))


def _find_pixel_size(path: Path, raw: RawPlates) -> float | None:
    """Return the pixel size in the index, which must be the same for all plates."""
    sizes = {raw.pixel_sizes_um.get(plate) for plate in raw.plate_names}
    if len(sizes) > 1:
        listed = ", ".join(f"{plate} {raw.pixel_sizes_um.get(plate)}" for plate in raw.plate_names)
        raise ValueError(
            f"{path}: its plates have pixels of different sizes, in micrometres: {listed}; put "
            "them into separate stores, or set pixel_size_um to the size that all have"
        )
    return sizes.pop()


def _origin(
    raw: RawPlates,
    headers: list[FieldHeader],
    dtype: str,
    table: pl.DataFrame,
    settings: IngestSettings,
) -> Origin:
    """Return the store's origin: settings, names and sizes of files, and the wells' columns."""
    # Names and sizes and not the content of the files: hashing terabytes would take as long as the
    # ingest, and the store's identity covers the decoded pixels anyway.
    files = [
        (str(field), name_of(place), size)
        for field, header in zip(raw.fields, headers, strict=True)
        for place, size in zip(
            [place for image in field.images for place in image.planes], header.bytes, strict=True
        )
    ]
    sources = {"raw": hash_json(files), "wells": hash_json(table.rows())}
    kept = {
        key: value for key, value in settings_dict(settings).items() if key not in _NOT_IDENTITY
    }
    return Origin(KIND, kept | {"channels": list(raw.channels), "dtype": dtype}, sources)
