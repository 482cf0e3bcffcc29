"""Reads the header or the pixels of one image, whatever its format.

Every error of a decoder becomes a ValueError of one sentence that names the file. Errors of the
machine (memory, a disk, a missing package) stay what they are: the file may be good.
"""

import errno
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import BinaryIO

import numpy as np
from jaxtyping import UInt

from phenomae.images.fields import Place
from phenomae.images.pixels import png_jp2, site_array, tiff
from phenomae.images.pixels.header import ImageHeader, UnfitError
from phenomae.images.pixels.open_image import name_of, open_place
from phenomae.images.pixels.stack import Stack, describe_stack
from phenomae.images.pixels.value_range import ValueRange, to_uint16
from phenomae.images.pixels.zarr_array import read_plane, read_plane_header

# By content, not by name: files are often renamed (.tif that is a PNG, .TIF, .jpg).
_FORMATS = {
    b"II": tiff,
    b"MM": tiff,
    b"\x89PNG": png_jp2,
    b"\x00\x00\x00\x0cjP": png_jp2,
    b"\xff\x4f\xff\x51": png_jp2,
}
"""Module that reads files with these first bytes."""

_NEEDED = "requires the 'imagecodecs' package"  # tifffile's words
_INSTALL = "it can only be read with imagecodecs: pip install imagecodecs"

# Errors that a parser runs into on damaged bytes; their texts speak of Python, not of the image.
_INTERNAL = (TypeError, LookupError, AttributeError, ArithmeticError, AssertionError, struct.error)


def read_header(place: Place, value_range: ValueRange | None = None) -> ImageHeader:
    """Read size and type of an image without decoding it.

    Raises ValueError if the image is missing or truncated, is not a TIFF, PNG or JPEG 2000, or is
    not a single greyscale image of 8 or 16 bits, or of a type that `value_range` scales; OSError
    and MemoryError if the machine fails.
    """
    has_range = value_range is not None
    if place.channel is not None:
        return site_array.read_header(place, has_range=has_range)
    if place.index is not None:
        with _one_sentence(place, "is not a complete image"):
            return read_plane_header(place, has_range=has_range)
    with open_place(place) as stream, _one_sentence(place, "is not a complete image"):
        return _format_of(stream).read_header(stream, place.page, has_range=has_range)


def read_pixels(place: Place) -> UInt[np.ndarray, "h w"]:
    """Decode one greyscale image of 8 or 16 bits; raises ValueError if it cannot be decoded.

    Raises OSError and MemoryError if the machine fails.
    """
    return read_scaled(place, None)[0]


def read_scaled(
    place: Place, value_range: ValueRange | None
) -> tuple[UInt[np.ndarray, "h w"], int]:
    """Decode one greyscale image, and scale other types than uint8 and uint16 by `value_range`.

    Also returns how many pixels were clipped because they are outside of the range.
    """
    has_range = value_range is not None
    array = site_array.read_metadata(place) if place.channel is not None else None
    with _one_sentence(place, "cannot be decoded"):
        if place.index is not None:
            pixels = read_plane(place, has_range=has_range)
        else:
            with open_place(place) as stream:
                if array is not None:
                    pixels = site_array.read_pixels(stream, place, array)
                else:
                    module = _format_of(stream)
                    pixels = module.read_pixels(stream, place.page, has_range=has_range)
        if value_range is None or pixels.dtype in (np.uint8, np.uint16):
            return pixels, 0
        return to_uint16(pixels, value_range)


def read_stack(place: Place) -> Stack:
    """Read what the pages of an image are; raises ValueError and OSError as `read_header` does."""
    with open_place(place) as stream, _one_sentence(place, "is not a complete image"):
        if _format_of(stream) is not tiff:
            return Stack()
        return describe_stack(stream, name_of(place))


@contextmanager
def _one_sentence(place: Place, what: str) -> Iterator[None]:
    """Raise ValueError, naming the place, for any error that damaged bytes cause in a decoder."""
    try:
        yield
    except UnfitError as error:
        raise ValueError(f"{place} {error}") from None
    except MemoryError:
        raise
    except Exception as error:  # parsers and codecs raise errors of any kind on damaged bytes
        # Decoders raise OSError too, about bytes, but only the system's errors have a number.
        if isinstance(error, OSError) and error.errno is not None:
            raise OSError(error.errno, error.strerror, str(place)) from None
        if isinstance(error, ImportError) or _NEEDED in str(error):
            raise OSError(errno.ENOPKG, _INSTALL, str(place)) from None
        raise ValueError(f"{place} {what}: {_reason(error)}") from None


def _format_of(stream: BinaryIO) -> ModuleType:
    first = stream.read(12)
    stream.seek(0)  # the decoders read from the beginning
    for mark, module in _FORMATS.items():
        if first.startswith(mark):
            return module
    raise UnfitError("is not an image of a known format: expected TIFF, PNG or JPEG 2000")


def _reason(error: Exception) -> str:
    """Return the first line of a parser's message, or a general one for errors of Python's own."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines and not isinstance(error, _INTERNAL) else "its header is damaged"
