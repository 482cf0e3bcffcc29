"""Reads headers and pixels of TIFF images: of a file with one, or of a page of a stack.

A truncated file is recognised by its header alone: the strips must end before the file does.
"""

import logging
from dataclasses import replace
from typing import BinaryIO

import numpy as np
import tifffile
from jaxtyping import Num, UInt

from phenomae.images.pixels.header import ImageHeader, UnfitError, check_grey

# Damaged files are reported in one sentence of ours; tifffile would log a second one beside it.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)


_GREY = (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.MINISWHITE)
_REDUCED = 1  # bit of NewSubfileType: a smaller copy of another page


def read_header(stream: BinaryIO, page: int | None, *, has_range: bool) -> ImageHeader:
    """Read size and type of a TIFF; only colour images, which may be grey, are decoded for it.

    `page` counts from 0; None if the file holds one image. Raises UnfitError if the image is
    truncated, not greyscale, or, unless `has_range`, not of 8 or 16 bits.
    """
    with tifffile.TiffFile(stream) as tiff:
        found = _choose_page(tiff, page)
        header = _check_page(found, tiff.filehandle.size, has_range)
        if not _is_grey(found):
            _decode(found, has_range)  # raises if it has colours
        return header if page is None else replace(header, bytes=sum(found.databytecounts))


def read_pixels(stream: BinaryIO, page: int | None, *, has_range: bool) -> Num[np.ndarray, "h w"]:
    """Decode the image; raises the decoder's own error if that fails.

    White-is-zero images are inverted and, unless `has_range`, signed ones read as unsigned; a
    colour image is read if its channels are equal, and a palette if it is grey. Raises UnfitError
    if they are not, or if a pixel is negative. Other types than uint8 and uint16 are returned as
    they are if `has_range`.
    """
    with tifffile.TiffFile(stream) as tiff:
        found = _choose_page(tiff, page)
        # Again, because the file may have changed since its header was checked.
        _check_page(found, tiff.filehandle.size, has_range)
        return _decode(found, has_range)


def full_pages(tiff: tifffile.TiffFile) -> list[int]:
    """Return the numbers of the pages that are no smaller copies of others, such as thumbnails.

    Raises UnfitError if the file has more images than pages.
    """
    if len(tiff.pages) == 0:
        return []
    first = tiff.pages.first
    counts = [(tiff.imagej_metadata or {}).get("images", 1) if first.is_imagej else 1]
    shaped = (tiff.shaped_metadata or ({},))[0] if first.is_shaped else {}
    if len(tiff.pages) == 1 and (counts[0] > 1 or shaped.get("truncated")):
        # ImageJ writes one page beyond 4 GB, and tifffile if it is so configured.
        raise UnfitError("is a stack whose images share one page: save it as OME-TIFF")
    pages = [page.aspage() for page in tiff.pages]
    return [number for number, page in enumerate(pages) if not page.subfiletype & _REDUCED]


def _choose_page(tiff: tifffile.TiffFile, page: int | None) -> tifffile.TiffPage:
    """Return a page, or the only one that is not a smaller copy of another."""
    if page is not None:
        if page >= len(tiff.pages):
            raise UnfitError(f"has no page {page}: it has {len(tiff.pages)}, counted from 0")
        return tiff.pages[page].aspage()
    full = full_pages(tiff)
    if len(full) == 1:
        return tiff.pages[full[0]].aspage()
    raise UnfitError(f"has {len(tiff.pages)} pages: expected one image per file")


def _check_page(page: tifffile.TiffPage, size: int, has_range: bool) -> ImageHeader:
    shape, dtype = page.shape, str(page.dtype)
    if page.samplesperpixel > 1:
        if len(shape) != 3 or page.samplesperpixel not in shape:
            raise UnfitError("is a colour image: expected one grey channel per file")
        axis = -1 if shape[-1] == page.samplesperpixel else 0
        shape = shape[:-1] if axis else shape[1:]
    if dtype == "int16" and not has_range:
        dtype = "uint16"  # read as it is if no pixel is negative
    header = check_grey(shape, dtype, size, has_range=has_range)
    # So that a truncated file is found before any pixel is decoded or written.
    starts, counts = page.dataoffsets, page.databytecounts
    parts = list(zip(starts, counts, strict=False))
    if page.is_tiled:  # a tile that was not written is 0, as in GDAL
        parts = [part for part in parts if part != (0, 0)] or [(0, 1)]
    ends = [start + count for start, count in parts]
    if not 0 < len(starts) == len(counts) or 0 in [count for _, count in parts] or max(ends) > size:
        raise UnfitError("is truncated: its header refers to more bytes than it has")
    return header


def _is_grey(page: tifffile.TiffPage) -> bool:
    return page.samplesperpixel == 1 and page.photometric in _GREY


def _decode(page: tifffile.TiffPage, has_range: bool) -> Num[np.ndarray, "h w"]:
    pixels = page.asarray()
    if page.samplesperpixel > 1:
        axis = -1 if pixels.shape[-1] == page.samplesperpixel else 0
        pixels = take_grey(np.moveaxis(pixels, axis, -1))
    elif page.photometric == tifffile.PHOTOMETRIC.PALETTE:
        pixels = _look_up(pixels, page.colormap)
    if pixels.dtype == np.int16 and not has_range:
        if pixels.min() < 0:
            raise UnfitError(
                f"has signed pixels down to {pixels.min()}: expected none below 0 "
                "(setting value_range scales them)"
            )
        pixels = pixels.view(np.uint16)
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
        if pixels.dtype.kind != "u":
            raise UnfitError(f"is white-is-zero, which has no meaning in {pixels.dtype}")
        # The brightest is 0. Only as many bits as are used: 12 bits are stored in 16.
        pixels = pixels.dtype.type(2**page.bitspersample - 1) - pixels
    return pixels


def take_grey(pixels: UInt[np.ndarray, "h w channels"]) -> UInt[np.ndarray, "h w"]:
    """Return one channel of grey with alpha, or of a colour image whose channels are equal.

    Raises UnfitError if they are not equal, or if alpha is not the same everywhere.
    """
    colours, alpha = pixels, pixels[..., :0]
    if pixels.shape[-1] in (2, 4):
        colours, alpha = pixels[..., :-1], pixels[..., -1:]
    if (colours != colours[..., :1]).any() or (alpha.size and (alpha != alpha.flat[0]).any()):
        raise UnfitError("is a colour image: expected one grey channel per file")
    return np.ascontiguousarray(colours[..., 0])


def _look_up(
    pixels: UInt[np.ndarray, "h w"], colours: UInt[np.ndarray, "3 levels"] | None
) -> UInt[np.ndarray, "h w"]:
    """Return the grey levels of a palette, in 8 bits; raises UnfitError if it has colours."""
    if colours is None or (colours != colours[0]).any():
        raise UnfitError("is a colour image: its palette is not grey")
    # The palette has 16 bits, of which 8-bit greys fill both bytes.
    return (colours[0] >> 8).astype(np.uint8)[pixels]
