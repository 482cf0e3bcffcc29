"""What an image must be to be one channel of a field: grey, flat, 8 or 16 bits, of a sane size."""

from collections.abc import Sequence
from dataclasses import dataclass

_MOST_PIXELS = 2**30  # the stitched well of a large camera has a twentieth of it


@dataclass(frozen=True)
class ImageHeader:
    """Size and kind of an image."""

    height: int
    width: int
    dtype: str
    """`uint8` or `uint16`."""
    bytes: int
    """Size of the file."""


class UnfitError(ValueError):
    """An image that is well formed but not what a field is made of; the text says why."""


def check_grey(shape: Sequence[int], dtype: str, size: int) -> ImageHeader:
    """Return the header of an image of `size` bytes; raises UnfitError where it cannot be one."""
    if len(shape) != 2 or 0 in shape:
        raise UnfitError(f"has the shape {tuple(shape)}: expected height and width")
    if dtype not in ("uint8", "uint16"):
        raise UnfitError(f"has pixels of type {dtype}: expected uint8 or uint16")
    height, width = shape
    if height * width > _MOST_PIXELS:
        raise UnfitError(
            f"claims {height} x {width} pixels: more than 2^30 are no image of a field"
        )
    return ImageHeader(height, width, dtype, size)
