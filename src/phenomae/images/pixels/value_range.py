"""Maps pixels that are neither 8 nor 16 bits to 16 bits by an explicit range of values.

The range is a setting and not measured, so that all plates of a screen have one scale.
"""

import numpy as np
from jaxtyping import Num, UInt16

from phenomae.images.pixels.header import UnfitError

ValueRange = tuple[float, float]
"""The values that become 0 and 65535."""

_TOP = np.iinfo(np.uint16).max


def to_uint16(
    pixels: Num[np.ndarray, "h w"], value_range: ValueRange
) -> tuple[UInt16[np.ndarray, "h w"], int]:
    """Return round(65535 (v - low) / (high - low)), and how many values are outside the range.

    These become 0 or 65535. Raises UnfitError if a value is NaN, which has no place in a range.
    """
    low, high = value_range
    # Before the subtraction, which would overflow in integers.
    values = pixels.astype(np.float64)
    if missing := int(np.isnan(values).sum()):
        raise UnfitError(f"has {missing} pixels that are NaN: replace them by a value")
    clipped = int(np.count_nonzero((values < low) | (values > high)))
    scaled = (np.clip(values, low, high) - low) / (high - low) * _TOP
    return np.rint(scaled).astype(np.uint16), clipped
