"""Reads headers and pixels of PNG and JPEG 2000 images.

Pillow reads the headers of JPEG 2000, imagecodecs the pixels; the two must agree.
"""

import struct
import warnings
import zlib
from typing import BinaryIO

import numpy as np
from jaxtyping import UInt
from PIL import Image, UnidentifiedImageError

from phenomae.images.pixels.header import ImageHeader, UnfitError, check_grey
from phenomae.images.pixels.tiff import take_grey

# Pillow's modes of greyscale images; big-endian 16 bits are a mode of their own.
_TYPES = {"L": "uint8", "I;16": "uint16", "I;16B": "uint16"}


# PNG (ISO 15948, 11.2.2): the colour types, of which only greys with 16 bits are not 8-bit.
_PNG = b"\x89PNG\r\n\x1a\n"
_GREY, _COLOURS = 0, (2, 3, 4, 6)  # RGB, palette, grey with alpha, RGB with alpha


def read_header(
    stream: BinaryIO, page: int | None = None, *, has_range: bool = False
) -> ImageHeader:
    """Read size and type; only colour images, which may be grey, are decoded for it.

    Raises UnfitError if the image is not greyscale, or if `page` is not the first. All pixels have
    8 or 16 bits, whether or not there is a range of values for others (`has_range`).
    """
    if page:
        raise UnfitError(f"has no page {page}: it is a PNG or JPEG 2000, which has one image")
    content = stream.read()
    stream.seek(0)
    if content.startswith(_PNG):
        return _read_png_header(content)
    with warnings.catch_warnings():
        # check_grey has a limit of its own; Pillow's (89 million pixels) is below stitched wells.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            with Image.open(stream, formats=("JPEG2000",)) as image:
                width, height = image.size
                mode = image.mode
        except Image.DecompressionBombError:
            raise UnfitError("claims more pixels than a JPEG 2000 of a field can have") from None
        except UnidentifiedImageError:
            raise UnfitError("is not a readable PNG or JPEG 2000: its header is damaged") from None
    if mode not in _TYPES:
        raise UnfitError(
            f"is a colour image or has another mode ({mode}): expected grey, 8 or 16 bits"
        )
    return check_grey((height, width), _TYPES[mode], len(content))


def _read_png_header(content: bytes) -> ImageHeader:
    """Read the header of a PNG without Pillow, whose limit is below that of other formats."""
    # Its own checksum, because the size is used before any pixel is decoded.
    header, crc = content[12:29], content[29:33]
    if not header.startswith(b"IHDR") or zlib.crc32(header) != int.from_bytes(crc, "big"):
        raise UnfitError("is not a readable PNG or JPEG 2000: its header is damaged")
    width, height, bits, kind = struct.unpack(">IIBB", content[16:26])
    if kind not in (_GREY, *_COLOURS) or bits not in (8, 16):
        raise UnfitError(f"has {bits} bits per pixel: expected grey, 8 or 16 bits")
    found = check_grey((height, width), f"uint{bits}", len(content))
    # IEND takes the last 12 bytes. A PNG has no table of lengths that would show a cut earlier.
    if b"IEND" not in content[-12:]:
        raise UnfitError("is truncated: its end is missing")
    if kind in _COLOURS:
        _decode_png(content)  # raises if it has colours
    return found


def _decode_png(content: bytes) -> UInt[np.ndarray, "h w"]:
    import imagecodecs

    pixels = imagecodecs.png_decode(content)
    return take_grey(pixels) if pixels.ndim == 3 else pixels


def read_pixels(
    stream: BinaryIO, page: int | None = None, *, has_range: bool = False
) -> UInt[np.ndarray, "h w"]:
    """Decode the image; raises the decoder's own error if that fails."""
    # Imported here: it is large, and a GPU node that reads no such images may lack it.
    import imagecodecs

    header = read_header(stream, page, has_range=has_range)
    stream.seek(0)
    data = stream.read()
    pixels = _decode_png(data) if data.startswith(_PNG) else imagecodecs.jpeg2k_decode(data)
    # The store was laid out by the header, so decoded pixels of another shape must not get there.
    if pixels.shape != (header.height, header.width):
        raise UnfitError(f"has the shape {pixels.shape}, unlike its header")
    # imagecodecs may decode to 8 bits what Pillow reports as a mode of 16.
    if header.dtype == "uint16" and pixels.dtype == np.uint8:
        pixels = pixels.astype(np.uint16)
    if pixels.dtype != header.dtype:
        raise UnfitError(f"has pixels of type {pixels.dtype}, unlike its header")
    return pixels
