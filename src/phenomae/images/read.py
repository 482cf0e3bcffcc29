"""Lists the fields of a raw folder, checks their files, and reads a field's pixels."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from cyclopts import Parameter
from jaxtyping import UInt

from phenomae.images.fields import RawField, RawScreen, complain, gather_fields
from phenomae.images.loaddata import find_loaddata, list_loaddata
from phenomae.images.pattern import list_pattern
from phenomae.images.tiff import TiffHeader, read_header, read_pixels
from phenomae.progress import track

Item = TypeVar("Item")
Result = TypeVar("Result")


@Parameter(name="*")
@dataclass(frozen=True)
class LayoutSettings:
    """How the raw files lie on disk."""

    pattern: str | None = None
    """Regular expression with named groups (channel; well, or row and column; plate; site) that
    explains the path of an image below RAW, or its last parts. Without it RAW is, or holds,
    LoadData CSVs."""
    plate_name: str | None = None
    """Name of the plate where the pattern has no group `plate`; without it the image's folder."""
    images: Path | None = None
    """Folder the images lie in now, where PathName in the LoadData CSV is of another machine."""
    channels: str = ""
    """Channels to keep, in this order, comma between: `DNA,ER`; `1=DNA,2=ER` also renames them.
    Empty keeps all."""


@dataclass(frozen=True)
class FieldHeader:
    """Size and kind of a field: the same in all its channels."""

    height: int
    width: int
    dtype: str
    bytes: tuple[int, ...]
    """Size of each channel's file."""


def list_fields(raw: Path, settings: LayoutSettings = LayoutSettings()) -> RawScreen:
    """List all fields of `raw` without opening an image.

    Raises ValueError where `raw` is missing, empty, or of no layout known, where a field lacks a
    channel or has two files for one, or where the settings do not fit.
    """
    if not raw.exists():
        raise ValueError(f"{raw}: there is no such file or folder")
    if settings.pattern is None and settings.plate_name is not None:
        raise ValueError("plate_name is for --pattern: a LoadData CSV names its plates")
    if settings.pattern is not None and settings.images is not None:
        raise ValueError("images is for LoadData CSVs: with a pattern RAW holds the images")
    if settings.pattern is not None:
        if not raw.is_dir():
            raise ValueError(f"{raw} is a file: a pattern needs a folder to look through")
        files = list_pattern(raw, settings.pattern, settings.plate_name)
    else:
        csvs = find_loaddata(raw)
        if not csvs:
            state = (
                "is empty" if raw.is_dir() and not any(raw.iterdir()) else "is of no known layout"
            )
            raise ValueError(f"{raw} {state}: expected load_data.csv in it, or the setting pattern")
        files = list_loaddata(csvs, settings.images)
    return gather_fields(files, settings.channels, raw)


def read_headers(screen: RawScreen, source: Path, workers: int) -> list[FieldHeader]:
    """Open every file of a screen and return what each field is, before a pixel is decoded.

    Raises one ValueError for all files that are missing, damaged or not grey images of 8 or 16
    bits, and for fields whose channels differ in size or kind.
    """
    headers: list[FieldHeader] = []
    problems: list[str] = []
    with track("checking images", len(screen.fields), "fields") as advance:
        for header, found in in_parallel(_check_field, screen.fields, workers):
            problems += found
            if header is not None:
                headers.append(header)
            advance()
    if problems:
        complain(source, problems)
    return headers


def read_field(field: RawField) -> UInt[np.ndarray, "c h w"]:
    """Read the pixels of one field, all channels."""
    return np.stack([read_pixels(path) for path in field.files])


def in_parallel(
    work: Callable[[Item], Result], items: Sequence[Item], workers: int
) -> Iterator[Result]:
    """Do `work` on all items in threads and yield the results in the order of the items.

    The first error stops what has not begun.
    """
    pool = ThreadPoolExecutor(max_workers=workers)
    try:
        yield from pool.map(work, items)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _check_field(field: RawField) -> tuple[FieldHeader | None, list[str]]:
    headers: list[TiffHeader] = []
    problems: list[str] = []
    for path in field.files:
        try:
            headers.append(read_header(path))
        except ValueError as error:
            problems.append(str(error))
    if problems:
        return None, problems
    kinds = {(header.height, header.width, header.dtype) for header in headers}
    if len(kinds) > 1:
        listed = " and ".join(f"{h} x {w} {dtype}" for h, w, dtype in sorted(kinds))
        return None, [f"{field} has channels of different sizes or types: {listed}"]
    return FieldHeader(*kinds.pop(), tuple(header.bytes for header in headers)), []
