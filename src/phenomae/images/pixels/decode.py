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

_NEEDED = "requires the 'imagecodecs' package"  # tifffile's words
_INSTALL = "it can only be read with imagecodecs: pip install imagecodecs"

# Errors that a parser runs into on damaged bytes; their texts speak of Python, not of the image.
_INTERNAL = (TypeError, LookupError, AttributeError, ArithmeticError, AssertionError, struct.error)


def read_header(place: Place) -> ImageHeader:
    """Read size and type of an image without decoding it.

    Raises ValueError if the image is missing or truncated, is not a TIFF, PNG or JPEG 2000, or is
    not a single greyscale image of 8 or 16 bits; OSError and MemoryError if the machine fails.
    """
    with open_place(place) as stream, _one_sentence(place, "is not a complete image"):
        return _format_of(stream).read_header(stream)


def read_pixels(place: Place) -> UInt[np.ndarray, "h w"]:
    """Decode one greyscale image; raises ValueError if it cannot be decoded.

    Raises OSError and MemoryError if the machine fails.
    """
    with open_place(place) as stream, _one_sentence(place, "cannot be decoded"):
        return _format_of(stream).read_pixels(stream)


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
