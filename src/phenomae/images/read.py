"""Lists the fields of a raw folder, checks their files and reads their pixels.

The three steps are separate so that `ingest` can report every bad file before it writes anything.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt

from phenomae.images.fields import Listing, Problem, RawField, RawImage, RawPlates
from phenomae.images.gather import gather_fields
from phenomae.images.layouts.explain import explain_unknown
from phenomae.images.layouts.layout import Layout
from phenomae.images.layouts.ome_zarr import list_address
from phenomae.images.layouts.table import LAYOUTS, load_layout
from phenomae.images.pixels.decode import read_header, read_scaled
from phenomae.images.pixels.header import ImageHeader
from phenomae.images.pixels.illumination import divide
from phenomae.images.select_files import select_files
from phenomae.images.settings import LayoutSettings
from phenomae.images.stacks import expand_stacks
from phenomae.images.threads import map_in_threads
from phenomae.progress import info, track
from phenomae.urls import Location, locate

DEFAULT = LayoutSettings()


@dataclass(frozen=True)
class FieldHeader:
    """Image size and pixel type of a field, which all its channels share."""

    height: int
    width: int
    dtype: str
    """`uint8` or `uint16`."""
    bytes: tuple[int, ...]
    """Size of each image file, in the order of channels, then planes."""
    scaled: tuple[bool, ...] = ()
    """Whether the pixels of each channel are of another type and become `uint16` by the setting
    value_range."""


def list_fields(raw: Location, settings: LayoutSettings = DEFAULT) -> RawPlates:
    """List all fields of a raw folder.

    Images are opened only to see whether their files have several pages, and all of them if so.

    Parameters
    ----------
    raw
        Folder, or an index file in it (LoadData CSV, `Index.idx.xml`, ...); or the address of an
        OME-Zarr plate.
    settings
        Which layout `raw` has, and which channels, planes and acquisitions to read.

    Returns
    -------
        The fields, sorted by plate, well and site. A field with a problem is left out of `fields`,
        and its problem is in `skipped`.

    Raises
    ------
    ValueError
        If `raw` does not exist, is empty or has no known layout, if the setting `channels` names a
        channel that is missing, or if `plate_name` is set but `raw` holds several plates.
    """
    raw = locate(raw)
    if isinstance(raw, str):
        listing = list_address(raw, settings)
    elif raw.exists():
        listing = _list_files(raw, settings)
    else:
        raise ValueError(f"{raw}: there is no such file or folder")
    if settings.where is not None and not listing.is_selected:
        listing = select_files(listing, settings.where, raw)
    for kind, count in listing.ignored.items():
        info(f"ignored: {kind} ({count:,})")
    return gather_fields(expand_stacks(listing, settings), settings, raw)


def read_headers(
    fields: Sequence[RawField], workers: int
) -> tuple[list[FieldHeader | None], list[Problem]]:
    """Read the header of every file of the fields, without decoding pixels.

    Returns one header per field and all problems. The header is None if a file is missing, damaged
    or not a greyscale image of 8 or 16 bits, or if the channels differ in size or type.
    """
    headers: list[FieldHeader | None] = []
    problems: list[Problem] = []
    with track("checking images", len(fields), "fields") as advance:
        for header, found in map_in_threads(_check_field, fields, workers):
            headers.append(header)
            problems += found
            advance()
    return headers, problems


def read_field(field: RawField) -> UInt[np.ndarray, "c h w"]:
    """Read the pixels of all channels of a field; raises ValueError if one cannot be decoded."""
    return read_clipped(field)[0]


def read_clipped(field: RawField) -> tuple[UInt[np.ndarray, "c h w"], tuple[int, ...]]:
    """Read a field as `read_field` does, and return how many pixels of each channel were clipped.

    These are the pixels outside of the setting value_range.
    """
    channels, clipped = zip(*map(_read_image, field.images), strict=True)
    return np.stack(channels), clipped


def _read_image(image: RawImage) -> tuple[UInt[np.ndarray, "h w"], int]:
    # One plane at a time, so that a stack never has to fit in memory.
    pixels, clipped = read_scaled(image.planes[0], image.value_range)
    for plane in image.planes[1:]:
        more, outside = read_scaled(plane, image.value_range)
        pixels, clipped = np.maximum(pixels, more), clipped + outside
    return (divide(pixels, image.illumination) if image.illumination else pixels), clipped


def _list_files(raw: Path, settings: LayoutSettings) -> Listing:
    """List the files of `raw` by the layout in the settings, or by the first matching layout."""
    if settings.pattern is not None:
        # A pattern is searched for in all of `raw`: no index file tells where the images are.
        return load_layout("pattern").list(raw, (), settings)
    if settings.layout != "auto":
        layout = load_layout(settings.layout)
        if not (indices := layout.find(raw)):
            raise ValueError(explain_unknown(raw, [layout], settings))
        return _list_with(layout, raw, indices, settings)
    layouts = [load_layout(name) for name in LAYOUTS]
    found = {layout.name: indices for layout in layouts if (indices := layout.find(raw))}
    if not found:
        raise ValueError(explain_unknown(raw, layouts, settings))
    name, *others = found
    # Every layout that fits is logged: a folder with two indices may have been meant the other way.
    beside = f"; ignored {' and '.join(others)}" if others else ""
    more = f" and {len(found[name]) - 1} more" if len(found[name]) > 1 else ""
    info(f"layout {name}, because of {found[name][0]}{more}{beside}")
    return _list_with(load_layout(name), raw, found[name], settings)


def _list_with(
    layout: Layout, raw: Path, indices: Sequence[Path], settings: LayoutSettings
) -> Listing:
    images = None if settings.images is None else locate(settings.images)
    if isinstance(images, str) and not layout.takes_address:
        raise ValueError(
            f"images must be a folder on this machine for the layout {layout.name}, not {images}"
        )
    return layout.list(raw, indices, settings)


def _check_field(field: RawField) -> tuple[FieldHeader | None, list[Problem]]:
    key = field.plate, field.well, field.site
    headers: list[ImageHeader] = []
    problems: list[Problem] = []
    scaled: list[bool] = []
    for image in field.images:
        planes: list[ImageHeader] = []
        for place in image.planes:
            try:
                planes.append(read_header(place, image.value_range))
            except ValueError as error:
                problem = Problem(str(error), *key)
                # Channels that share a chunk have the same problem.
                problems += [problem] if problem not in problems else []
        if len({header.is_scaled for header in planes}) > 1:
            what = f"{field} has planes that value_range scales beside others: {image.planes[0]}"
            problems.append(Problem(what, *key))
        scaled.append(any(header.is_scaled for header in planes))
        headers += planes
    if problems:
        return None, problems
    # The store has one array per field, so all channels need the same size and type.
    kinds = {(header.height, header.width, header.dtype) for header in headers}
    if len(kinds) > 1:
        listed = " and ".join(f"{h} x {w} {dtype}" for h, w, dtype in sorted(kinds))
        what = f"{field} has channels of different sizes or types: {listed}"
        return None, [Problem(what, *key)]
    sizes = tuple(header.bytes for header in headers)
    return FieldHeader(*kinds.pop(), sizes, tuple(scaled)), []
