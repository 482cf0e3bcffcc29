"""PNG and JPEG 2000: what the header promises, and the pixels."""

import warnings
from typing import BinaryIO

import imagecodecs
import numpy as np
from jaxtyping import UInt
from PIL import Image, UnidentifiedImageError

from phenomae.images.pixels.header import ImageHeader, UnfitError, check_grey

_TYPES = {"L": "uint8", "I;16": "uint16", "I;16B": "uint16"}


def read_header(stream: BinaryIO) -> ImageHeader:
    """Read what the image holds without decoding it; raises UnfitError for one that is not grey."""
    size = len(stream.read())
    stream.seek(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # told by check_grey
        try:
            with Image.open(stream, formats=("PNG", "JPEG2000")) as image:
                width, height = image.size
                mode, format = image.mode, image.format
        except Image.DecompressionBombError:
            raise UnfitError("claims more pixels than an image of a field can have") from None
        except UnidentifiedImageError:
            raise UnfitError("is no PNG or JPEG 2000 to be read: its header is damaged") from None
    if mode not in _TYPES:
        raise UnfitError(
            f"is a colour image or of another kind ({mode}): expected grey, 8 or 16 bits"
        )
    header = check_grey((height, width), _TYPES[mode], size)
    if format == "PNG":
        _require_end(stream, size)
    return header


def read_pixels(stream: BinaryIO) -> UInt[np.ndarray, "h w"]:
    """Decode the image; raises whatever its decoder does where that fails."""
    header = read_header(stream)
    stream.seek(0)
    data = stream.read()
    decode = imagecodecs.png_decode if data.startswith(b"\x89PNG") else imagecodecs.jpeg2k_decode
    pixels = decode(data)
    if pixels.shape != (header.height, header.width):
        raise UnfitError(f"has the shape {pixels.shape}, not that of its header")
    if header.dtype == "uint16" and pixels.dtype == np.uint8:
        pixels = pixels.astype(np.uint16)
    if pixels.dtype != header.dtype:
        raise UnfitError(f"has pixels of type {pixels.dtype}, not of that in its header")
    return pixels


def _require_end(stream: BinaryIO, size: int) -> None:
    """Raise UnfitError where a PNG lacks its last chunk, as a file that was cut does."""
    stream.seek(max(size - 12, 0))
    if b"IEND" not in stream.read():
        raise UnfitError("is cut short: its end is missing")
