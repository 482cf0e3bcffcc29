"""One image, of whatever format: what its header promises, and its pixels."""

import struct
from types import ModuleType
from typing import BinaryIO

import numpy as np
from jaxtyping import UInt

from phenomae.images.fields import Place
from phenomae.images.pixels import png_jp2 as raster
from phenomae.images.pixels import tiff
from phenomae.images.pixels.header import ImageHeader, UnfitError
from phenomae.images.pixels.open_image import open_place

_FORMATS = {
    b"II": tiff,
    b"MM": tiff,
    b"\x89PNG": raster,
    b"\x00\x00\x00\x0cjP": raster,
    b"\xff\x4f\xff\x51": raster,
}
"""First bytes and who reads what follows: endings of file names are as people left them."""

_WITHIN = (TypeError, LookupError, AttributeError, ArithmeticError, AssertionError, struct.error)


def read_header(place: Place) -> ImageHeader:
    """Read what an image holds without decoding it.

    Raises ValueError where it is missing, cut short, of another format than TIFF, PNG and
    JPEG 2000, or more than one grey image of 8 or 16 bits.
    """
    with open_place(place) as stream:
        try:
            return _format_of(stream).read_header(stream)
        except UnfitError as error:
            raise ValueError(f"{place} {error}") from None
        except Exception as error:  # on damaged bytes a parser raises whatever it met
            reason = _strip(error)
            raise ValueError(f"{place} is not a whole image: {reason}") from None


def read_pixels(place: Place) -> UInt[np.ndarray, "h w"]:
    """Read one grey image; raises ValueError where it cannot be decoded."""
    with open_place(place) as stream:
        try:
            return _format_of(stream).read_pixels(stream)
        except UnfitError as error:
            raise ValueError(f"{place} {error}") from None
        except Exception as error:  # decoders raise errors of their own kinds, one a codec
            raise ValueError(f"{place} cannot be decoded: {_strip(error)}") from None


def _format_of(stream: BinaryIO) -> ModuleType:
    first = stream.read(12)
    stream.seek(0)
    for mark, module in _FORMATS.items():
        if first.startswith(mark):
            return module
    raise UnfitError("is no image that is known here: expected TIFF, PNG or JPEG 2000")


def _strip(error: Exception) -> str:
    """Return what a parser complains of; what Python does within it says nothing to people."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines and not isinstance(error, _WITHIN) else "its header is damaged"
