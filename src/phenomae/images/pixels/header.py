"""The requirements on one channel of a field: two-dimensional, greyscale, 8 or 16 bits.

They are checked on headers, so that a bad file is reported before anything is decoded.
"""

from collections.abc import Sequence
from dataclasses import dataclass

# A damaged header can claim any size, and decoding would then fill the memory. The stitched image
# of a whole well has about a twentieth of this.
_MAX_PIXELS = 2**30
_STORED = ("uint8", "uint16")
_SCALED = (
    *("int8", "int16", "int32", "int64", "uint32", "uint64"),
    *("float16", "float32", "float64"),
)


@dataclass(frozen=True)
class ImageHeader:
    """Size and pixel type of an image."""

    height: int
    width: int
    dtype: str
    """`uint8` or `uint16`."""
    bytes: int
    """Size of the image's file, or of its page."""
    is_scaled: bool = False
    """Whether the pixels are of another type and become `uint16` by the setting value_range."""


class UnfitError(ValueError):
    """Raised for an intact image that cannot be a channel of a field; the text says why."""


def check_grey(
    shape: Sequence[int], dtype: str, size: int, *, has_range: bool = False
) -> ImageHeader:
    """Return the header of an image whose file has `size` bytes.

    With a range of values (`has_range`) other types than uint8 and uint16 become uint16. Raises
    UnfitError unless the image is two-dimensional, of such a type, and at most 2^30 pixels.
    """
    if len(shape) != 2 or 0 in shape:
        raise UnfitError(f"has the shape {tuple(shape)}: expected height and width")
    is_scaled = has_range and dtype in _SCALED
    if not is_scaled and dtype not in _STORED:
        hint = " (setting value_range scales other types)" if dtype in _SCALED else ""
        raise UnfitError(f"has pixels of type {dtype}: expected uint8 or uint16{hint}")
    height, width = shape
    if height * width > _MAX_PIXELS:
        raise UnfitError(f"claims {height} x {width} pixels: an image of a field has at most 2^30")
    return ImageHeader(height, width, "uint16" if is_scaled else dtype, size, is_scaled)
