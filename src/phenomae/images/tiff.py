"""One TIFF file: what its header promises, and its pixels."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from jaxtyping import UInt

# Damaged files are told in our own sentence; tifffile would log a second one beside it.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)


@dataclass(frozen=True)
class TiffHeader:
    """Size and kind of an image."""

    height: int
    width: int
    dtype: str
    """`uint8` or `uint16`."""
    bytes: int
    """Size of the file."""


def read_header(path: Path) -> TiffHeader:
    """Read what a TIFF holds without decoding it.

    Raises ValueError where the file is missing, cut short, no TIFF, or more than one grey image of
    8 or 16 bits.
    """
    try:
        with tifffile.TiffFile(path) as tiff:
            return _check_page(tiff)
    except FileNotFoundError:
        raise ValueError(f"there is no file {path}") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from None
    except _UnfitError as error:
        raise ValueError(f"{path} {error}") from None
    except Exception as error:  # on damaged bytes tifffile raises whatever its parser met
        raise ValueError(f"{path} is not a whole TIFF: {error}") from None


def read_pixels(path: Path) -> UInt[np.ndarray, "h w"]:
    """Read one grey image; raises ValueError where it cannot be decoded."""
    try:
        with tifffile.TiffFile(path) as tiff:
            _check_page(tiff)
            return tiff.pages.first.asarray()
    except _UnfitError as error:
        raise ValueError(f"{path} {error}") from None
    except Exception as error:  # decoders raise errors of their own kinds, one a codec
        raise ValueError(f"{path} cannot be decoded: {error}") from None


class _UnfitError(ValueError):
    """A TIFF that is well formed but not what a field is made of; the text says why."""


def _check_page(tiff: tifffile.TiffFile) -> TiffHeader:
    if len(tiff.pages) != 1:
        raise _UnfitError(f"has {len(tiff.pages)} pages: expected one image a file")
    page = tiff.pages.first
    if page.samplesperpixel != 1 or page.photometric == tifffile.PHOTOMETRIC.PALETTE:
        raise _UnfitError("is a colour image: expected one grey channel a file")
    if len(page.shape) != 2 or 0 in page.shape:
        raise _UnfitError(f"has the shape {page.shape}: expected height and width")
    dtype = str(page.dtype)
    if dtype not in ("uint8", "uint16"):
        raise _UnfitError(f"has pixels of type {dtype}: expected uint8 or uint16")
    size = tiff.filehandle.size
    segments = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    if not segments or any(count == 0 or start + count > size for start, count in segments):
        raise _UnfitError("is cut short: its header speaks of more bytes than there are")
    height, width = page.shape
    return TiffHeader(height, width, dtype, size)
