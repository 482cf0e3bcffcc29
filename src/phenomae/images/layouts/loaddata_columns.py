"""Finds the columns of a LoadData table, under the names that programs and data sets give them.

CellProfiler writes FileName_DNA, pe2loaddata FileName_OrigDNA, and a table exported from
CellProfiler's database Image_FileName_OrigDNA.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from phenomae.images.settings import LayoutSettings

_IMAGE = re.compile(r"(?:Image_)?(FileName|PathName|URL|Series|Frame)_(.+)", re.IGNORECASE)
_PREFIXES = ("", "metadata_", "image_", "image_metadata_")
_ORIGINAL, _LIGHT = re.compile(r"Orig(?=.)"), re.compile(r"Illum(?=.)")

# Names without Metadata_, underscores and case, the commonest first.
_NAMES = {
    "plate": ("plate", "plateid", "platename", "platebarcode", "assayplatebarcode", "barcode"),
    "well": ("well", "wellposition", "cpdwellposition", "wellname", "imagingwell", "wellid"),
    "row": ("row", "wellrow"),
    "column": ("col", "column", "wellcol", "wellcolumn"),
    "site": ("site", "siteid", "fieldid", "field", "fieldindex", "fov"),
    "plane": ("planeid", "plane", "zplane", "zindex", "zslice", "z"),
    "time": ("timepointid", "timepoint"),
    "resolution": ("imageresolutionx",),
}


@dataclass(frozen=True)
class ImageColumns:
    """The columns that name one image; None for those that a table does not have."""

    name: str | None = None
    folder: str | None = None
    url: str | None = None
    frame: str | None = None
    """Column of the page in a file with several, counted from 0."""
    series: str | None = None


@dataclass(frozen=True)
class LoadDataColumns:
    """Which columns of a LoadData table hold what."""

    channels: Mapping[str, ImageColumns]
    """By channel, in the order of the columns."""
    lights: Mapping[str, ImageColumns]
    """Illumination functions by channel."""
    fields: Mapping[str, tuple[str, ...]]
    """Columns of plate, well, row, column, site, plane, time and resolution: several if each
    channel has its own, and none if there is no such column."""
    others: tuple[str, ...] = ()
    """Columns of images that are not channels."""
    used_settings: frozenset[str] = frozenset()
    """Which of the settings plate_column and well_column name columns of this table."""

    @property
    def numbers_rows(self) -> bool:
        """Whether nothing but the order of rows tells the sites of a well apart."""
        return not any(self.fields[name] for name in ("site", "plane", "time"))


def names_images(columns: Sequence[str]) -> bool:
    """Return whether a table with these columns lists images of wells."""
    images = _find_images(columns)
    found = _find_fields(columns, [*images, *_find_columns_of(_ORIGINAL, images)])
    return bool(images) and bool(found["well"] or (found["row"] and found["column"]))


def may_name_images(columns: Sequence[str]) -> bool:
    """Return whether a table has any column of a LoadData CSV, so that it may lack others."""
    metadata = any(re.match(r"(?:image_)?metadata_", column.lower()) for column in columns)
    return metadata or any(map(_IMAGE.fullmatch, columns))


def has_illumination(columns: Sequence[str]) -> bool:
    """Return whether a table names illumination functions."""
    return bool(_find_columns_of(_LIGHT, _find_images(columns)))


def find_columns(table: Path, columns: Sequence[str], settings: LayoutSettings) -> LoadDataColumns:
    """Return which columns of a LoadData table hold what.

    Channels are the images FileName_OrigX; without any Orig they are all images but those of
    illumination functions. The settings plate_column and well_column come before the usual names.

    Raises ValueError, naming `table`, if a column that is needed is missing.
    """
    images = _find_images(columns)
    lights = _find_columns_of(_LIGHT, images)
    originals = _find_columns_of(_ORIGINAL, images)
    plain = {name: its for name, its in images.items() if not _LIGHT.match(name)}
    channels = originals or plain
    fields = _find_fields(columns, [*images, *channels])
    used = _apply_settings(columns, fields, settings)
    if missing := _find_missing(channels, fields, settings):
        raise ValueError(f"{table} is not a LoadData CSV: it has no column {missing}")
    others = [name for name in plain if originals and not _ORIGINAL.match(name)]
    return LoadDataColumns(channels, lights, fields, tuple(others), used)


def _find_images(columns: Sequence[str]) -> dict[str, ImageColumns]:
    """Return the columns of each image by its name in them: OrigDNA, IllumDNA, DNA."""
    kinds = {"filename": "name", "pathname": "folder"}
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for column in columns:
        if match := _IMAGE.fullmatch(column):
            kind = match[1].lower()
            found[match[2]].setdefault(kinds.get(kind, kind), column)
    images = {name: ImageColumns(**kinds) for name, kinds in found.items()}
    return {name: its for name, its in images.items() if its.name or its.url}


def _find_columns_of(
    prefix: re.Pattern[str], images: Mapping[str, ImageColumns]
) -> dict[str, ImageColumns]:
    return {prefix.sub("", name): its for name, its in images.items() if prefix.match(name)}


def _find_fields(columns: Sequence[str], images: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the columns of plate, well and so on by their usual names.

    A table may have one for each image instead of one for all: Metadata_Well_DAPI.
    """
    keys: dict[str, str] = {}
    # Metadata_Well before Well, which may be a count.
    for column in sorted(columns, key=lambda column: "metadata_" not in column.lower()):
        keys.setdefault(_key(column), column)
    suffixes = [_squeeze(name) for name in images]
    fields: dict[str, tuple[str, ...]] = {}
    for field, names in _NAMES.items():
        single = next((keys[name] for name in names if name in keys), None)
        by_image = [keys[n + s] for n in names for s in suffixes if n + s in keys]
        fields[field] = (single,) if single else tuple(dict.fromkeys(by_image))
    return fields


def _apply_settings(
    columns: Sequence[str], fields: dict[str, tuple[str, ...]], settings: LayoutSettings
) -> frozenset[str]:
    """Let plate_column and well_column choose columns; return which of the two did."""
    used: set[str] = set()
    plate = _find_named(columns, settings.plate_column)
    if plate and settings.plate_column != LayoutSettings.plate_column:
        fields["plate"] = tuple(plate)
        used.add("plate_column")
    well = _find_named(columns, settings.well_column)
    if well and settings.well_column != LayoutSettings.well_column:
        names = ("well",) if len(well) == 1 else ("row", "column")
        fields |= {"well": (), "row": (), "column": ()} | {
            name: (column,) for name, column in zip(names, well, strict=True)
        }
        used.add("well_column")
    return frozenset(used)


def _find_named(columns: Sequence[str], text: str) -> list[str]:
    """Return the columns that a setting names, with or without prefix; empty if one is missing."""
    lower = {column.lower(): column for column in columns}
    found: list[str] = []
    for part in text.split(","):
        names = [part.strip(), *(lower.get(prefix + part.strip().lower()) for prefix in _PREFIXES)]
        column = next((name for name in names if name in columns), None)
        if column is None:
            return []
        found.append(column)
    return found


def _find_missing(
    channels: Mapping[str, ImageColumns],
    fields: Mapping[str, tuple[str, ...]],
    settings: LayoutSettings,
) -> str | None:
    if not fields["plate"] and settings.plate_name is None:
        return "Metadata_Plate, and neither setting plate_column nor plate_name gives the plate"
    if not fields["well"] and not (fields["row"] and fields["column"]):
        return "Metadata_Well (setting well_column gives another name)"
    return None if channels else "FileName_... or URL_..."


def _key(column: str) -> str:
    return _squeeze(re.sub(r"^(?:image_)?(?:metadata_)?", "", column.lower()))


def _squeeze(name: str) -> str:
    return name.lower().replace("_", "").replace(" ", "")
