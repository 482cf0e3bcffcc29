"""Reads headers and pixels of PNG and JPEG 2000 images.

Pillow reads the headers, imagecodecs the pixels; the two must agree.
"""

import warnings
from typing import BinaryIO

import numpy as np
from jaxtyping import UInt
from PIL import Image, UnidentifiedImageError

from phenomae.images.pixels.header import ImageHeader, UnfitError, check_grey

# Pillow's modes of greyscale images; big-endian 16 bits are a mode of their own.
_TYPES = {"L": "uint8", "I;16": "uint16", "I;16B": "uint16"}


def read_header(stream: BinaryIO) -> ImageHeader:
    """Read size and type without decoding; raises UnfitError if the image is not greyscale."""
    size = len(stream.read())
    stream.seek(0)
    with warnings.catch_warnings():
        # check_grey has a limit of its own; Pillow's (89 million pixels) is below stitched wells.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            with Image.open(stream, formats=("PNG", "JPEG2000")) as image:
                width, height = image.size
                mode, format = image.mode, image.format
        except Image.DecompressionBombError:
            raise UnfitError("claims more pixels than an image of a field can have") from None
        except UnidentifiedImageError:
            raise UnfitError("is not a readable PNG or JPEG 2000: its header is damaged") from None
    if mode not in _TYPES:
        raise UnfitError(
            f"is a colour image or has another mode ({mode}): expected grey, 8 or 16 bits"
        )
    header = check_grey((height, width), _TYPES[mode], size)
    if format == "PNG":
        _require_end(stream, size)
    return header


def read_pixels(stream: BinaryIO) -> UInt[np.ndarray, "h w"]:
    """Decode the image; raises the decoder's own error if that fails."""
    # Imported here: it is large, and a GPU node that reads no such images may lack it.
    import imagecodecs

    header = read_header(stream)
    stream.seek(0)
    data = stream.read()
    decode = imagecodecs.png_decode if data.startswith(b"\x89PNG") else imagecodecs.jpeg2k_decode
    pixels = decode(data)
    # The store was laid out by the header, so decoded pixels of another shape must not get there.
    if pixels.shape != (header.height, header.width):
        raise UnfitError(f"has the shape {pixels.shape}, unlike its header")
    # imagecodecs may decode to 8 bits what Pillow reports as a mode of 16.
    if header.dtype == "uint16" and pixels.dtype == np.uint8:
        pixels = pixels.astype(np.uint16)
    if pixels.dtype != header.dtype:
        raise UnfitError(f"has pixels of type {pixels.dtype}, unlike its header")
    return pixels


def _require_end(stream: BinaryIO, size: int) -> None:
    """Raise UnfitError if a PNG lacks its last chunk, as a truncated file does."""
    # IEND takes the last 12 bytes. A PNG has no table of lengths that would show a cut earlier.
    stream.seek(max(size - 12, 0))
    if b"IEND" not in stream.read():
        raise UnfitError("is truncated: its end is missing")
