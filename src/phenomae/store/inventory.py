"""Inventory of raw plates before any pixel is decoded: fields, plate map, sizes and problems.

Everything that file listings and image headers show is checked here, so that a wrong setting or a
missing file is reported in seconds and not after an hour of writing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import polars as pl
from cyclopts import Parameter

from phenomae.checks import at_least, between
from phenomae.cores import available_cores
from phenomae.images.fields import Problem, RawField, RawPlates, raise_problems
from phenomae.images.pixels.open_image import name_of
from phenomae.images.platemap.match import match_wells
from phenomae.images.platemap.own_controls import choose_controls
from phenomae.images.platemap.plate_map import (
    PLATE_MAP,
    PlateMapSettings,
    find_plate_map,
    map_folders,
    read_plate_map,
)
from phenomae.images.read import FieldHeader, list_fields, read_headers
from phenomae.images.settings import LayoutSettings
from phenomae.progress import count_of, info
from phenomae.signatures import Origin, settings_dict
from phenomae.store.in_place import require_referable
from phenomae.store.read import KIND
from phenomae.store.table import field_table
from phenomae.store.windows import WindowSettings
from phenomae.whole_files import hash_json


@Parameter(name="*")
@dataclass(frozen=True)
# --help lists the settings of the last base class first: where the files are, then the scaling.
class IngestSettings(WindowSettings, PlateMapSettings, LayoutSettings):
    """How raw plates are converted into a store."""

    bits: Literal[8, 16] = 16
    """16 stores pixels unchanged, also those of 8-bit files; 8 scales the intensity window of each
    plate and channel to 0-255 and rounds."""
    pixel_size_um: float | None = None
    """Micrometres per pixel; None takes the pixel size from the layout's index, if it has one."""
    workers: int | None = None
    """Number of processes that read and write; None is one per core. The bytes of the store are the
    same for any number of processes."""
    check_raw: bool = False
    """Compare the pixels of all raw files with those of a store that is there already. Without it,
    only the times at which files were changed are compared."""
    in_place: bool = False
    """Leave the pixels of OME-Zarr plates where they are: the store refers to their arrays. It
    takes no space, but crops are read more slowly, because chunks of other software are large."""
    dry_run: bool = False
    """List the plates that would be read and their problems, and write nothing."""

    def __post_init__(self) -> None:
        WindowSettings.__post_init__(self)
        PlateMapSettings.__post_init__(self)
        LayoutSettings.__post_init__(self)
        between("pixel_size_um", self.pixel_size_um, 0, 10_000)
        at_least("workers", self.workers, 1)
        changes = {"bits": self.bits == 8, "value_range": self.value_range is not None}
        changes["illumination"] = self.illumination == "divide"
        if self.in_place and any(changes.values()):
            name = next(name for name, is_set in changes.items() if is_set)
            raise ValueError(
                f"in_place leaves pixels as they are, but {name} = {getattr(self, name)!r} changes "
                "them: leave one out"
            )


# Settings that are no part of the store's identity, because no pixel depends on them. `on_bad`
# decides which fields are stored, but the identity covers the table of fields anyway.
_NOT_IDENTITY = (
    "layout",
    "plate_map",
    "barcode_map",
    "metadata",
    "images",
    "where",
    "on_bad",
    "workers",
    "check_raw",
    "dry_run",
)
_ADDED_LATER = {
    "time_point": None,
    "pages": "auto",
    "value_range": None,
    "metadata_column": None,
    "in_place": False,
}
"""Settings that version 0.1 did not have. They are recorded only if they have another value, so
that an ingest without them counts as the same work."""


@dataclass(frozen=True)
class Inventory:
    """Raw plates as described by their file listing, image headers and plate map."""

    path: Path | str
    """The raw folder, its index file, or the address of a plate."""
    settings: IngestSettings
    raw: RawPlates
    """The fields whose image headers can all be read."""
    headers: list[FieldHeader]
    """One header per field, in the order of `raw.fields`."""
    raw_dtypes: dict[str, str]
    """Pixel type of each plate's files, `uint8` or `uint16`."""
    dtype: str
    """Pixel type of the store."""
    pixel_size_um: float | None
    table: pl.DataFrame
    """The store's table of fields, without the columns that are computed from pixels."""
    plate_map: Path | None
    """Path of the plate map; None if there is no map, or if the layout itself lists the wells."""
    problems: list[Problem]
    """Problems of the fields that are left out."""
    origin: Origin

    @cached_property
    def fields_of(self) -> dict[str, list[RawField]]:
        """The fields of each plate, in their order."""
        fields: dict[str, list[RawField]] = {plate: [] for plate in self.raw.plate_names}
        for field in self.raw.fields:
            fields[field.plate].append(field)
        return fields

    @property
    def workers(self) -> int:
        """Number of worker processes or threads."""
        return self.settings.workers or available_cores()


def take_inventory(path: Path | str, settings: IngestSettings) -> Inventory:
    """List and check the fields of a raw folder, and join them with the plate map.

    Problems of single fields are collected in `Inventory.problems`. Raises ValueError if no field
    can be read, or if the listing, plate map, pixel types or pixel sizes are inconsistent.
    """
    raw = list_fields(path, settings)
    if settings.in_place:
        require_referable(path, raw.fields)
    map_path, plate_map = _find_wells(path, raw, settings)
    if plate_map is not None:
        raw = match_wells(raw, plate_map, map_path or Path(path), settings)
    found, damaged = read_headers(raw.fields, settings.workers or available_cores())
    problems = [*raw.skipped, *damaged]
    pairs = [(field, header) for field, header in zip(raw.fields, found, strict=True) if header]
    if not pairs:
        raise_problems(path, problems or ["no field can be read"])
    raw = replace(raw, fields=tuple(field for field, _ in pairs))
    headers = [header for _, header in pairs]
    if settings.value_range:
        _check_scaled(path, raw, headers)
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


def _check_scaled(path: Path | str, raw: RawPlates, headers: list[FieldHeader]) -> None:
    """Raise ValueError if value_range scales a channel in some fields only.

    Prints a line if it scales none.
    """
    if not any(any(header.scaled) for header in headers):
        info("value_range changes nothing: all pixels are uint8 or uint16")
    for number, channel in enumerate(raw.channels):
        kinds = {
            header.scaled[number]: field for field, header in zip(raw.fields, headers, strict=True)
        }
        if len(kinds) > 1:
            raise ValueError(
                f"{path}: value_range scales channel {channel} of {kinds[True]}, but not of "
                f"{kinds[False]}, where it is uint8 or uint16, so that their pixels could not be "
                "compared: ingest them into two stores"
            )


def refuse_problems(inventory: Inventory, problems: Sequence[Problem]) -> None:
    """Print all problems and raise ValueError; with `on_bad` `skip` only print their number."""
    if not problems:
        return
    if inventory.settings.on_bad == "skip":
        found = count_of(len(problems), "problem")
        info(f"left out: fields with {found}, listed in ingest-report.csv")
        return
    for problem in problems:
        info(f"wrong: {problem}")
    raise_problems(inventory.path, problems, " (on_bad = skip leaves such fields out)")


def _find_wells(
    path: Path | str, raw: RawPlates, settings: IngestSettings
) -> tuple[Path | None, pl.DataFrame | None]:
    """Return the path of the plate map and the map itself.

    The path is None if the layout itself lists the wells; path and map are None without a map.
    """
    map_path = find_plate_map(path, settings)
    if map_path is not None:
        plates = sorted({raw.original_plates.get(plate, plate) for plate in raw.plate_names})
        plate_map = read_plate_map(map_path, settings, plates, raw.used_settings)
        return map_path, _repeat_wells(plate_map, raw)
    _refuse_unused(path, raw, settings)
    if raw.wells is not None:
        return None, _repeat_wells(choose_controls(path, raw, settings), raw)
    places = " or ".join(map(str, map_folders(Path(path))))
    if settings.control_label is not None:
        raise ValueError(
            f"control_label {settings.control_label!r} needs a plate map: there is no "
            f"{PLATE_MAP} in {places}, so name it with plate_map"
        )
    info(
        f"no plate map ({PLATE_MAP} in {places}; setting plate_map): wells have no perturbation, "
        "and no well is a control"
    )
    return None, None


def _refuse_unused(path: Path | str, raw: RawPlates, settings: IngestSettings) -> None:
    """Raise ValueError if a setting names a column, but there is neither plate map nor column."""
    for name in ("plate_column", "well_column"):
        value = getattr(settings, name)
        if name not in raw.used_settings and value != getattr(IngestSettings, name):
            raise ValueError(f"{path} has no column {value!r} (setting {name}), and no plate map")


def _repeat_wells(plate_map: pl.DataFrame, raw: RawPlates) -> pl.DataFrame:
    """Return the plate map with a plate's wells repeated for each later imaging of the plate.

    With `duplicates = apart` a later imaging is a plate of its own, which the plate map lacks.
    """
    later = [
        plate_map.filter(pl.col("plate") == plate).with_columns(plate=pl.lit(name))
        for name, plate in raw.original_plates.items()
    ]
    return pl.concat([plate_map, *later])


def _plate_dtypes(path: Path | str, raw: RawPlates, headers: list[FieldHeader]) -> dict[str, str]:
    first: dict[str, tuple[str, RawField]] = {}
    for field, header in zip(raw.fields, headers, strict=True):
        dtype, other = first.setdefault(field.plate, (header.dtype, field))
        if dtype != header.dtype:
            raise ValueError(
                f"{path}: {field} is {header.dtype}, but {other} is {dtype}: "
                "all files of a plate must have the same pixel type"
            )
    return {plate: dtype for plate, (dtype, _) in first.items()}


def _stored_dtype(path: Path | str, raw_dtypes: dict[str, str], bits: int) -> str:
    if bits == 8:
        return "uint8"
    plates = {dtype: plate for plate, dtype in raw_dtypes.items()}
    if len(plates) > 1:
        raise ValueError(
            f"{path}: plate {plates['uint8']} is uint8, but plate {plates['uint16']} is uint16: "
            "ingest the plates into two stores, or convert all to 8 bits (bits = 8)"
        )
    return next(iter(plates))


def _find_pixel_size(path: Path | str, raw: RawPlates) -> float | None:
    """Return the pixel size in the layout's index, or None; raises ValueError if plates differ."""
    sizes = {raw.pixel_sizes_um.get(plate) for plate in raw.plate_names}
    if len(sizes) > 1:
        listed = ", ".join(f"{plate} {raw.pixel_sizes_um.get(plate)}" for plate in raw.plate_names)
        raise ValueError(
            f"{path}: plates have different pixel sizes, in micrometres: {listed}; ingest them "
            "into separate stores, or set pixel_size_um to the true size of all"
        )
    return sizes.pop()


def _origin(
    raw: RawPlates,
    headers: list[FieldHeader],
    dtype: str,
    table: pl.DataFrame,
    settings: IngestSettings,
) -> Origin:
    """Return the store's origin: settings, and hashes of file names and sizes and of the table."""
    # The content of the files is not hashed: hashing terabytes would take as long as the ingest,
    # and the store's identity covers the decoded pixels anyway.
    files = [
        (str(field), name_of(place), size)
        for field, header in zip(raw.fields, headers, strict=True)
        for place, size in zip(
            [place for image in field.images for place in image.planes], header.bytes, strict=True
        )
    ]
    sources = {"raw": hash_json(files), "wells": hash_json(table.rows())}
    kept = {
        key: value
        for key, value in settings_dict(settings).items()
        if key not in _NOT_IDENTITY and (key, value) not in _ADDED_LATER.items()
    }
    return Origin(KIND, kept | {"channels": list(raw.channels), "dtype": dtype}, sources)
