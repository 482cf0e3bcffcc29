"""Intensity windows: the pixel values that become 0 and 1.

They are fixed per plate and channel, so that the wells of a plate stay comparable, and found from
histograms of all grey levels, so that percentiles are exact and equal on every machine.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from cyclopts import Parameter
from jaxtyping import Float64, Int64, UInt8, UInt16

from phenomae.checks import at_least, require
from phenomae.images.fields import RawField
from phenomae.store.quality import percentiles

BYTE_WINDOW = (0.0, 255.0)
_LEVELS = 65536
_BYTE_IN_WORD = 257  # 255 x 257 = 65535: how 8 bits are stretched to 16 without loss


@Parameter(name="*")
@dataclass(frozen=True)
class WindowSettings:
    """How the windows of 16-bit plates are found; 8-bit pixels keep the window 0 to 255."""

    low_percentile: float = 0.1
    """Percentile of a plate's pixels in a channel that becomes 0."""
    high_percentile: float = 99.9
    """Percentile that becomes 1 (255 in 8 bits)."""
    window_fields: int = 32
    """Number of fields per plate whose pixels are used: a sample, the same on every machine."""

    def __post_init__(self) -> None:
        low, high = self.low_percentile, self.high_percentile
        require(0 <= low < 100, "low_percentile", "at least 0 and below 100", low)
        require(
            low < high <= 100, "high_percentile", f"above low_percentile, {low}, up to 100", high
        )
        at_least("window_fields", self.window_fields, 1)


def sample_fields(fields: Sequence[RawField], count: int) -> list[RawField]:
    """Choose `count` fields of a plate by the hash of their names.

    The sample depends neither on a seed nor on the order of files, favours no site and no row, and
    a larger sample contains the smaller ones.
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
    that at least p percent of the pixels do not exceed. A channel of one value gets a window of
    width 1.
    """
    ranks = settings.low_percentile, settings.high_percentile
    ends = np.array([percentiles(counts, ranks) for counts in levels])
    ends[:, 1] = np.maximum(ends[:, 1], ends[:, 0] + 1)  # a width of 0 would divide by zero
    return ends


def is_stretched(levels: Int64[np.ndarray, "c levels"]) -> bool:
    """Return whether 16-bit pixels are 8-bit ones times 257, and not only black and white.

    Some tools store 8-bit images like that; they can be brought back to 8 bits without loss.
    """
    seen = np.flatnonzero(levels.sum(axis=0))
    # Images of 0 and 65535 alone (a mask, or a saturated camera) say nothing about their bits.
    return len(seen) > 2 and not (seen % _BYTE_IN_WORD).any()


def to_bytes(
    pixels: UInt16[np.ndarray, "c h w"], windows: Float64[np.ndarray, "c 2"]
) -> UInt8[np.ndarray, "c h w"]:
    """Convert 16 bits to 8: scale each channel's window to 0-255, round, and clip the rest."""
    # A table of all 65,536 levels is computed once per channel, then every pixel is one look-up.
    levels = np.arange(_LEVELS)
    out = np.empty(pixels.shape, np.uint8)
    for channel, (low, high) in enumerate(windows):
        table = np.rint((levels - low) * (255 / (high - low))).clip(0, 255).astype(np.uint8)
        out[channel] = table[pixels[channel]]
    return out
