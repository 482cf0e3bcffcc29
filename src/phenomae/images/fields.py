"""Data types that all layouts share: listed files, and fields with one image per channel.

A layout only lists files (`Listing`). `gather.py` groups the files into fields (`RawPlates`), so
that duplicates, missing channels and z-stacks are handled by the same code for all layouts.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import polars as pl

from phenomae.records import drop_zero_fraction, split_well

# A broken plate can have thousands of problems, and an error should fit on a screen.
_PROBLEMS_SHOWN = 4


@dataclass(frozen=True)
class Place:
    """Location of one image: a file, a page of a file, a row of a Parquet file, or a plane of a
    Zarr array."""

    url: str
    """A path, or an address: s3://, http:// or https://."""
    row: int | None = None
    """Row of a Parquet file; None if the image is a file of its own."""
    page: int | None = None
    """Page of a TIFF, counted from 0; None if the file holds one image."""
    channel: tuple[int, int] | None = None
    """Index of a channel, counted from 0, and the number of channels of a Zarr array (c y x), whose
    only chunk is `url`; None if the image is no part of an array."""
    index: tuple[int, ...] | None = None
    """Index of a plane in a Zarr array, on the axes before y and x; None if `url` is no array."""

    def __str__(self) -> str:
        if self.index is not None:
            return (
                f"{self.url}, plane {', '.join(map(str, self.index))}" if self.index else self.url
            )
        if self.page is not None:
            return f"{self.url}, page {self.page}"
        if self.channel is not None:
            return f"{self.url}, channel {self.channel[0]}"
        return self.url if self.row is None else f"{self.url}, row {self.row}"


@dataclass(frozen=True)
class RawFile:
    """One image as a layout lists it: one channel and one focal plane of one field."""

    plate: str
    well: str
    """In the form of `records.normalize_well`: `B07`."""
    site: int
    channel: str
    """Empty if only the pages of the file name channels."""
    place: Place
    plane: int = 1
    acquisition: str = ""
    """Which acquisition of the plate the image belongs to, usually the name of a folder; used only
    to tell apart acquisitions of a plate that was imaged more than once."""
    illumination: Place | None = None
    """The illumination function to divide by, a `.npy` file; None to leave the image as it is."""
    imaging: str = ""
    """What tells the imagings of a field apart within an acquisition, such as a time point in the
    file's name; used only where one acquisition has several files of a channel."""
    time: str = ""
    """Time point, as the index, table or pattern gives it; a field has images of one."""


@dataclass(frozen=True)
class Problem:
    """What is wrong with a field, with plate, well and site as far as they are known."""

    what: str
    plate: str | None = None
    well: str | None = None
    site: int | None = None

    def __str__(self) -> str:
        return self.what


@dataclass(frozen=True)
class Listing:
    """All images of a raw folder, as a layout lists them."""

    files: Sequence[RawFile]
    pixel_sizes_um: Mapping[str, float] = field(default_factory=dict)
    """Pixel size in micrometres by plate, for the plates whose index gives it."""
    wells: pl.DataFrame | None = None
    """Plate map with the columns `records.PLATE_MAP_COLUMNS`, if the data set includes one."""
    own_columns: pl.DataFrame | None = None
    """Plate, well, and other columns of the data set's table, as text: what the settings
    control_column and control_label can choose controls by, beside the columns of `wells`."""
    ignored: Mapping[str, int] = field(default_factory=dict)
    """Number of files that are not images of a field, by kind: `{"thumbnails": 8}`."""
    problems: Sequence[Problem] = ()
    """Entries of the index that cannot be understood."""
    colors: Mapping[str, str] = field(default_factory=dict)
    """Display colours of channels, as RRGGBB, for the channels whose index gives one."""
    used_settings: frozenset[str] = frozenset()
    """Which of the settings plate_column and well_column name columns of the layout's tables."""
    is_selected: bool = False
    """Whether the layout itself has left out what the setting `where` does not select."""


@dataclass(frozen=True)
class RawImage:
    """One channel of a field."""

    planes: tuple[Place, ...]
    """A single image, or the planes of a z-stack, which are read as their maximum projection."""
    illumination: Place | None = None
    """The illumination function to divide by; None to leave the image as it is."""
    value_range: tuple[float, float] | None = None
    """The values of pixels of other types than uint8 and uint16 that become 0 and 65535."""


@dataclass(frozen=True)
class RawField:
    """One field, with images in the order of `RawPlates.channels`."""

    plate: str
    well: str
    site: int
    images: tuple[RawImage, ...]

    def __str__(self) -> str:
        return f"plate {self.plate}, well {self.well}, site {self.site}"


@dataclass(frozen=True)
class RawPlates:
    """All fields of a raw folder, sorted by plate, well (row, then column) and site."""

    channels: tuple[str, ...]
    fields: tuple[RawField, ...]
    pixel_sizes_um: Mapping[str, float] = field(default_factory=dict)
    """Pixel size in micrometres by plate, for the plates whose index gives it."""
    wells: pl.DataFrame | None = None
    """Plate map that the data set includes, or None."""
    own_columns: pl.DataFrame | None = None
    """Other columns of its table, as in `Listing.own_columns`."""
    skipped: tuple[Problem, ...] = ()
    """Why fields were left out, one problem per cause."""
    original_plates: Mapping[str, str] = field(default_factory=dict)
    """Original plate of each plate that is a repeated acquisition: `{"P1-2": "P1"}`."""
    colors: Mapping[str, str] = field(default_factory=dict)
    """Display colours of channels, as RRGGBB, for the channels whose index gives one."""
    used_settings: frozenset[str] = frozenset()
    """Which of the settings plate_column and well_column name columns of the layout's tables."""

    @property
    def plate_names(self) -> list[str]:
        """Names of all plates, sorted."""
        return sorted({field.plate for field in self.fields})


def well_order(well: str) -> tuple[int, str, int]:
    """Return a sorting key that orders wells by row, then column, and puts B01 before AA01."""
    row, column = split_well(well)
    return len(row), row, int(column)


def natural_key(text: str) -> list[tuple[int, str]]:
    """Return a sorting key that puts `Measurement2` before `Measurement10`."""
    pieces = re.findall(r"[0-9]+|[^0-9]+", text)
    return [(int(piece), "") if piece.isdecimal() else (-1, piece) for piece in pieces]


def parse_site(text: str, noun: str = "site") -> int:
    """Return the number of a site, or of what `noun` names (a plane, a plate).

    Raises ValueError if `text` is not a whole number from 0 to 999,999.
    """
    text = drop_zero_fraction(text)
    # int() alone would also take "1_000", " 7", "-3" and digits of other scripts.
    if re.fullmatch(r"[0-9]{1,6}", text) is None:
        raise ValueError(f"{text!r} is not a {noun}: expected a whole number")
    return int(text)


def raise_problems(source: Path | str, problems: Sequence[object], remedy: str = "") -> NoReturn:
    """Raise one ValueError that counts the problems, quotes the first four and adds a remedy."""
    shown = "; ".join(str(problem) for problem in problems[:_PROBLEMS_SHOWN])
    rest = len(problems) - _PROBLEMS_SHOWN
    count = f"{len(problems)} problems: " if len(problems) > 1 else ""
    more = f"; and {rest} more" if rest > 0 else ""
    raise ValueError(f"{source}: {count}{shown}{more}{remedy}")
