"""Reads the header or the pixels of one image, whatever its format.

Every error of a decoder becomes a ValueError of one sentence that names the file.
"""

import struct
from types import ModuleType
from typing import BinaryIO

import numpy as np
from jaxtyping import UInt

from phenomae.images.fields import Place
from phenomae.images.pixels import png_jp2, tiff
from phenomae.images.pixels.header import ImageHeader, UnfitError
from phenomae.images.pixels.open_image import open_place

# By content, not by name: files are often renamed (.tif that is a PNG, .TIF, .jpg).
_FORMATS = {
    b"II": tiff,
    b"MM": tiff,
    b"\x89PNG": png_jp2,
    b"\x00\x00\x00\x0cjP": png_jp2,
    b"\xff\x4f\xff\x51": png_jp2,
}
"""Module that reads files with these first bytes."""

# Errors that a parser runs into on damaged bytes; their texts speak of Python, not of the image.
_INTERNAL = (TypeError, LookupError, AttributeError, ArithmeticError, AssertionError, struct.error)


def read_header(place: Place) -> ImageHeader:
    """Read size and type of an image without decoding it.

    Raises ValueError if the image is missing or truncated, is not a TIFF, PNG or JPEG 2000, or is
    not a single greyscale image of 8 or 16 bits.
    """
    with open_place(place) as stream:
        try:
            return _format_of(stream).read_header(stream)
        except UnfitError as error:
            raise ValueError(f"{place} {error}") from None
        except Exception as error:  # parsers raise errors of any kind on damaged bytes
            reason = _reason(error)
            raise ValueError(f"{place} is not a complete image: {reason}") from None


def read_pixels(place: Place) -> UInt[np.ndarray, "h w"]:
    """Decode one greyscale image; raises ValueError if it cannot be decoded."""
    with open_place(place) as stream:
        try:
            return _format_of(stream).read_pixels(stream)
        except UnfitError as error:
            raise ValueError(f"{place} {error}") from None
        except Exception as error:  # every codec has an error class of its own
            raise ValueError(f"{place} cannot be decoded: {_reason(error)}") from None


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
