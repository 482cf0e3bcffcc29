"""Lists the fields of a raw folder, checks their files, and reads a field's pixels."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import UInt

from phenomae.images.fields import Listing, Problem, RawField, RawImage, RawScreen
from phenomae.images.gather import gather_fields
from phenomae.images.layouts.pattern import list_pattern
from phenomae.images.layouts.table import LAYOUTS
from phenomae.images.pixels.decode import read_header, read_pixels
from phenomae.images.pixels.header import ImageHeader
from phenomae.images.pixels.illumination import divide
from phenomae.images.settings import LayoutSettings
from phenomae.progress import info, track

Item = TypeVar("Item")
Result = TypeVar("Result")

DEFAULT = LayoutSettings()


@dataclass(frozen=True)
class FieldHeader:
    """Size and kind of a field: the same in all its channels."""

    height: int
    width: int
    dtype: str
    bytes: tuple[int, ...]
    """Size of each image's file, channel by channel, plane by plane."""


def list_fields(raw: Path, settings: LayoutSettings = DEFAULT) -> RawScreen:
    """List all fields of `raw` without opening an image.

    What is wrong with a field leaves it out, and stands in `RawScreen.skipped`. Raises ValueError
    where `raw` is missing, empty, or of no layout known, or where the settings do not fit.
    """
    if not raw.exists():
        raise ValueError(f"{raw}: there is no such file or folder")
    _check(settings)
    listing = _list_pattern(raw, settings) if settings.pattern else _list_layout(raw, settings)
    for what, count in listing.passed_over.items():
        info(f"passed over: {count} {what}")
    return gather_fields(listing, settings, raw)


def read_headers(
    fields: Sequence[RawField], workers: int
) -> tuple[list[FieldHeader | None], list[Problem]]:
    """Open every file of the fields and return what each is, before a pixel is decoded.

    A field has None where a file is missing, damaged or not a grey image of 8 or 16 bits, or where
    its channels differ in size or kind; all that is wrong is returned beside.
    """
    headers: list[FieldHeader | None] = []
    problems: list[Problem] = []
    with track("checking images", len(fields), "fields") as advance:
        for header, found in in_threads(_check_field, fields, workers):
            headers.append(header)
            problems += found
            advance()
    return headers, problems


def read_field(field: RawField) -> UInt[np.ndarray, "c h w"]:
    """Read the pixels of one field, all channels; raises ValueError where one cannot be decoded."""
    channels = [_read_image(image) for image in field.images]
    return np.stack(channels)


def in_threads(
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


def _read_image(image: RawImage) -> UInt[np.ndarray, "h w"]:
    pixels = read_pixels(image.planes[0])
    for plane in image.planes[1:]:
        pixels = np.maximum(pixels, read_pixels(plane))
    return divide(pixels, image.illumination) if image.illumination else pixels


def _check(settings: LayoutSettings) -> None:
    if settings.plane != "max" and not settings.plane.isdecimal():
        raise ValueError(f"plane must be a number or max, not {settings.plane!r}")
    if settings.pattern is not None and settings.layout not in ("auto", "pattern"):
        raise ValueError(f"a pattern explains file names: layout {settings.layout} needs none")
    if settings.layout == "pattern" and settings.pattern is None:
        raise ValueError("layout pattern needs --pattern, a regular expression with named groups")
    if settings.pattern is not None and settings.images is not None:
        raise ValueError("images is for LoadData CSVs: with a pattern RAW holds the images")


def _list_pattern(raw: Path, settings: LayoutSettings) -> Listing:
    if not raw.is_dir():
        raise ValueError(f"{raw} is a file: a pattern needs a folder to look through")
    return list_pattern(raw, (), settings)


def _list_layout(raw: Path, settings: LayoutSettings) -> Listing:
    names = list(LAYOUTS) if settings.layout == "auto" else [settings.layout]
    found = {name: paths for name in names if (paths := LAYOUTS[name].find(raw))}
    if not found:
        empty = raw.is_dir() and not any(raw.iterdir())
        state = "is empty" if empty else f"is not of the layout {settings.layout}"
        if settings.layout == "auto" and not empty:
            state = "is of no known layout"
        signs = ", ".join(f"{LAYOUTS[name].sign} ({name})" for name in names)
        raise ValueError(f"{raw} {state}: looked for {signs}, and there is the setting pattern")
    name, *others = found
    if settings.layout == "auto":
        beside = f"; passed over {' and '.join(others)}" if others else ""
        more = f" and {len(found[name]) - 1} more" if len(found[name]) > 1 else ""
        info(f"layout {name}, for there is {found[name][0]}{more}{beside}")
    return LAYOUTS[name].list(raw, found[name], settings)


def _check_field(field: RawField) -> tuple[FieldHeader | None, list[Problem]]:
    where = field.plate, field.well, field.site
    headers: list[ImageHeader] = []
    problems: list[Problem] = []
    for image in field.images:
        for place in image.planes:
            try:
                headers.append(read_header(place))
            except ValueError as error:
                problems.append(Problem(str(error), *where))
    if problems:
        return None, problems
    kinds = {(header.height, header.width, header.dtype) for header in headers}
    if len(kinds) > 1:
        listed = " and ".join(f"{h} x {w} {dtype}" for h, w, dtype in sorted(kinds))
        what = f"{field} has channels of different sizes or types: {listed}"
        return None, [Problem(what, *where)]
    return FieldHeader(*kinds.pop(), tuple(header.bytes for header in headers)), []
