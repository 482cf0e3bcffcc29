"""Reads headers and pixels of TIFF images.

A truncated file is recognised by its header alone: the strips must end before the file does.
"""

import logging
from typing import BinaryIO

import numpy as np
import tifffile
from jaxtyping import UInt

from phenomae.images.pixels.header import ImageHeader, UnfitError, check_grey

# Damaged files are reported in one sentence of ours; tifffile would log a second one beside it.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)


def read_header(stream: BinaryIO) -> ImageHeader:
    """Read size and type of a TIFF without decoding it.

    Raises UnfitError if it is truncated or not a single greyscale image of 8 or 16 bits.
    """
    with tifffile.TiffFile(stream) as tiff:
        return _check_page(tiff)


def read_pixels(stream: BinaryIO) -> UInt[np.ndarray, "h w"]:
    """Decode the image; raises the decoder's own error if that fails."""
    with tifffile.TiffFile(stream) as tiff:
        # Again, because the file may have changed since its header was checked.
        _check_page(tiff)
        return tiff.pages.first.asarray()


def _check_page(tiff: tifffile.TiffFile) -> ImageHeader:
    if len(tiff.pages) != 1:
        raise UnfitError(f"has {len(tiff.pages)} pages: expected one image per file")
    page = tiff.pages.first
    if page.samplesperpixel != 1 or page.photometric == tifffile.PHOTOMETRIC.PALETTE:
        raise UnfitError("is a colour image: expected one grey channel per file")
    size = tiff.filehandle.size
    header = check_grey(page.shape, str(page.dtype), size)
    # So that a truncated file is found before any pixel is decoded or written.
    starts, counts = page.dataoffsets, page.databytecounts
    ends = [start + count for start, count in zip(starts, counts, strict=False)]
    if not 0 < len(starts) == len(counts) or 0 in counts or max(ends) > size:
        raise UnfitError("is truncated: its header refers to more bytes than it has")
    return header
