"""TIFF: what the header promises, and the pixels."""

import logging
from typing import BinaryIO

import numpy as np
import tifffile
from jaxtyping import UInt

from phenomae.images.pixels.header import ImageHeader, UnfitError, check_grey

# Damaged files are told in our own sentence; tifffile would log a second one beside it.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)


def read_header(stream: BinaryIO) -> ImageHeader:
    """Read what a TIFF holds without decoding it.

    Raises UnfitError where it is cut short, or more than one grey image of 8 or 16 bits.
    """
    with tifffile.TiffFile(stream) as tiff:
        return _check_page(tiff)


def read_pixels(stream: BinaryIO) -> UInt[np.ndarray, "h w"]:
    """Decode the image; raises whatever its decoder does where that fails."""
    with tifffile.TiffFile(stream) as tiff:
        _check_page(tiff)
        return tiff.pages.first.asarray()


def _check_page(tiff: tifffile.TiffFile) -> ImageHeader:
    if len(tiff.pages) != 1:
        raise UnfitError(f"has {len(tiff.pages)} pages: expected one image a file")
    page = tiff.pages.first
    if page.samplesperpixel != 1 or page.photometric == tifffile.PHOTOMETRIC.PALETTE:
        raise UnfitError("is a colour image: expected one grey channel a file")
    size = tiff.filehandle.size
    header = check_grey(page.shape, str(page.dtype), size)
    starts, counts = page.dataoffsets, page.databytecounts
    ends = [start + count for start, count in zip(starts, counts, strict=False)]
    if not 0 < len(starts) == len(counts) or 0 in counts or max(ends) > size:
        raise UnfitError("is cut short: its header speaks of more bytes than there are")
    return header
