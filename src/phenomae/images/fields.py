"""What every layout is brought to: fields, each with one image a channel."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import polars as pl

from phenomae.records import split_well

_PROBLEMS_SHOWN = 4


@dataclass(frozen=True)
class Place:
    """Where the bytes of one image lie."""

    url: str
    """A path, or an address: s3://, http:// or https://."""
    row: int | None = None
    """Which row of a Parquet file; None where the image is a file of its own."""

    def __str__(self) -> str:
        return self.url if self.row is None else f"{self.url}, row {self.row}"


@dataclass(frozen=True)
class RawFile:
    """One image as a layout finds it: one channel of one field, in one plane of focus."""

    plate: str
    well: str
    """As `records.normalize_well` writes it."""
    site: int
    channel: str
    place: Place
    plane: int = 1
    acquisition: str = ""
    """Which imaging of the plate it is of: what tells two imagings apart, a folder as a rule."""
    illumination: Place | None = None
    """The illumination function it may be divided by, a `.npy`."""


@dataclass(frozen=True)
class Problem:
    """What is wrong with a field, or with what should have become one."""

    what: str
    plate: str | None = None
    well: str | None = None
    site: int | None = None

    def __str__(self) -> str:
        return self.what


@dataclass(frozen=True)
class Listing:
    """What a layout makes of a raw folder."""

    files: Sequence[RawFile]
    pixel_sizes_um: Mapping[str, float] = field(default_factory=dict)
    """Micrometres a pixel, by plate, where the layout tells."""
    wells: pl.DataFrame | None = None
    """The plate map that the layout brings along, of `records.PLATE_MAP_COLUMNS`."""
    passed_over: Mapping[str, int] = field(default_factory=dict)
    """How many files are no images of a field, by what they are: `{"thumbnails": 8}`."""
    problems: Sequence[Problem] = ()
    """Images that the index speaks of in a way that cannot be understood."""


@dataclass(frozen=True)
class RawImage:
    """One channel of a field."""

    planes: tuple[Place, ...]
    """More than one are a stack, of which the brightest pixels count."""
    illumination: Place | None = None
    """What the image is to be divided by; None where it is to stay as it is."""


@dataclass(frozen=True)
class RawField:
    """One site's image, channels in the order of `RawScreen.channels`."""

    plate: str
    well: str
    site: int
    images: tuple[RawImage, ...]

    def __str__(self) -> str:
        return f"plate {self.plate}, well {self.well}, site {self.site}"


@dataclass(frozen=True)
class RawScreen:
    """All fields of a raw folder, sorted by plate, well (row, then column) and site."""

    channels: tuple[str, ...]
    fields: tuple[RawField, ...]
    pixel_sizes_um: Mapping[str, float] = field(default_factory=dict)
    wells: pl.DataFrame | None = None
    skipped: tuple[Problem, ...] = ()
    """What was left out, and why."""
    imagings: Mapping[str, str] = field(default_factory=dict)
    """Of plates that are later imagings of another, which that is: `{"P1-2": "P1"}`."""

    @property
    def plates(self) -> list[str]:
        """The plates, sorted."""
        return sorted({field.plate for field in self.fields})


def well_order(well: str) -> tuple[int, str, int]:
    """Return a sorting key that puts B01 before AA01, and row before column."""
    row, column = split_well(well)
    return len(row), row, int(column)


def parse_site(text: str, noun: str = "site") -> int:
    """Return a site's number, or that of a plane, as `noun` says.

    Raises ValueError where `text` is no number from 0 to 999,999.
    """
    if re.fullmatch(r"[0-9]{1,6}", text) is None:
        raise ValueError(f"{text!r} is not a {noun}: expected a whole number")
    return int(text)


def complain(source: Path, problems: Sequence[object], remedy: str = "") -> NoReturn:
    """Raise one ValueError that counts the problems, names the first few, and adds a remedy."""
    shown = "; ".join(str(problem) for problem in problems[:_PROBLEMS_SHOWN])
    rest = len(problems) - _PROBLEMS_SHOWN
    count = f"{len(problems)} problems: " if len(problems) > 1 else ""
    more = f"; and {rest} more" if rest > 0 else ""
    raise ValueError(f"{source}: {count}{shown}{more}{remedy}")
