"""Intensity windows: the pixel values that become 0 and 1.

A window is the same for all fields of a plate and channel, so that the wells of a plate stay
comparable. Windows are percentiles of a histogram over all grey levels, which are exact and equal
on every machine.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from cyclopts import Parameter
from jaxtyping import Float64, Int64, UInt8, UInt16

from phenomae.checks import at_least, require, whole_numbers
from phenomae.images.fields import RawField
from phenomae.store.quality import percentiles

BYTE_WINDOW = (0.0, 255.0)
_LEVELS = 65536
_BYTE_IN_WORD = 257  # 255 x 257 = 65535: the factor that stretches 8 bits to all 16


@Parameter(name="*")
@dataclass(frozen=True)
class WindowSettings:
    """How the intensity windows of 16-bit plates are computed; 8-bit plates have 0 to 255."""

    low_percentile: float = 0.1
    """The low end of a window: this percentile of the pixels of a plate and channel becomes 0."""
    high_percentile: float = 99.9
    """The high end of a window: this percentile becomes 1 (255 with bits 8)."""
    window_fields: int = 32
    """Maximum number of fields per plate from which percentiles are computed, chosen by a hash of
    their names."""

    def __post_init__(self) -> None:
        whole_numbers(self)
        low, high = self.low_percentile, self.high_percentile
        require(0 <= low < 100, "low_percentile", "at least 0 and below 100", low)
        require(
            low < high <= 100, "high_percentile", f"above low_percentile, {low}, up to 100", high
        )
        at_least("window_fields", self.window_fields, 1)


def sample_fields(fields: Sequence[RawField], count: int) -> list[RawField]:
    """Return up to `count` fields of a plate, chosen by the hash of plate, well and site.

    The sample depends neither on a seed nor on the order of files, is spread over wells and sites
    like a random one, and is contained in every larger sample.
    """

    def rank(field: RawField) -> str:
        name = f"{field.plate}/{field.well}/{field.site}"
        return hashlib.sha256(name.encode()).hexdigest()

    return sorted(fields, key=rank)[:count]


def find_windows(
    levels: Int64[np.ndarray, "c levels"], settings: WindowSettings
) -> Float64[np.ndarray, "c 2"]:
    """Return the low and high end of each channel's window.

    `levels` has the number of pixels of every grey level. The p-th percentile is the smallest value
    that at least p percent of the pixels do not exceed. Windows are at least 1 wide.
    """
    ranks = settings.low_percentile, settings.high_percentile
    ends = np.array([percentiles(counts, ranks) for counts in levels])
    ends[:, 1] = np.maximum(ends[:, 1], ends[:, 0] + 1)  # a width of 0 would divide by zero
    return ends


def is_stretched(levels: Int64[np.ndarray, "c levels"]) -> bool:
    """Return whether all 16-bit pixels are multiples of 257, with more than two distinct values.

    Some tools save 8-bit images with 16 bits in this way, which can be undone without loss.
    """
    seen = np.flatnonzero(levels.sum(axis=0))
    # Images of two values, like 0 and 65535 in a mask, are no evidence of 8-bit originals.
    return len(seen) > 2 and not (seen % _BYTE_IN_WORD).any()


def to_bytes(
    pixels: UInt16[np.ndarray, "c h w"], windows: Float64[np.ndarray, "c 2"]
) -> UInt8[np.ndarray, "c h w"]:
    """Convert 16 bits to 8: scale each channel's window to 0-255, round, and clip."""
    # Converting the 65,536 levels and looking up each pixel is cheaper than float arithmetic on
    # every pixel.
    levels = np.arange(_LEVELS)
    out = np.empty(pixels.shape, np.uint8)
    for channel, (low, high) in enumerate(windows):
        table = np.rint((levels - low) * (255 / (high - low))).clip(0, 255).astype(np.uint8)
        out[channel] = table[pixels[channel]]
    return out
