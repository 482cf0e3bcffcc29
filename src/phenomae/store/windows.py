"""Intensity windows, fixed per plate and channel: what becomes 0 and what becomes 1."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from cyclopts import Parameter
from jaxtyping import Float64, Int64, UInt8, UInt16

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
    """Fields a plate whose pixels are looked at: a sample, the same on every machine."""


def check_windows(settings: WindowSettings) -> None:
    """Raise ValueError where the settings give no window."""
    low, high = settings.low_percentile, settings.high_percentile
    if not 0 <= low < high <= 100:
        raise ValueError(
            f"low_percentile {low} and high_percentile {high} must lie in 0 to 100, low below high"
        )
    if settings.window_fields < 1:
        raise ValueError(f"window_fields must be at least 1, not {settings.window_fields}")


def sample_fields(fields: Sequence[RawField], count: int) -> list[RawField]:
    """Choose `count` fields of a plate by the hash of their names, so that no clock, seed or
    order of files has a say and no site or row is favoured."""

    def rank(field: RawField) -> str:
        name = f"{field.plate}/{field.well}/{field.site}"
        return hashlib.sha256(name.encode()).hexdigest()

    return sorted(fields, key=rank)[:count]


def find_windows(
    levels: Int64[np.ndarray, "c levels"], settings: WindowSettings
) -> Float64[np.ndarray, "c 2"]:
    """Return the low and high end of each channel's window, of pixels counted by level.

    The p-th percentile is the smallest value that at least p percent of the pixels do not exceed.
    A channel of one value gets a window of width 1.
    """
    wanted = settings.low_percentile, settings.high_percentile
    ends = np.array([percentiles(counts, wanted) for counts in levels])
    ends[:, 1] = np.maximum(ends[:, 1], ends[:, 0] + 1)
    return ends


def is_stretched(levels: Int64[np.ndarray, "c levels"]) -> bool:
    """Say whether 16-bit pixels are 8-bit ones times 257, and more than black and white."""
    seen = np.flatnonzero(levels.sum(axis=0))
    return len(seen) > 2 and not (seen % _BYTE_IN_WORD).any()


def to_bytes(
    pixels: UInt16[np.ndarray, "c h w"], windows: Float64[np.ndarray, "c 2"]
) -> UInt8[np.ndarray, "c h w"]:
    """Make 8 bits of 16: the window becomes 0 to 255, rounded; what lies outside is clipped."""
    levels = np.arange(_LEVELS)
    out = np.empty(pixels.shape, np.uint8)
    for channel, (low, high) in enumerate(windows):
        table = np.rint((levels - low) * (255 / (high - low))).clip(0, 255).astype(np.uint8)
        out[channel] = table[pixels[channel]]
    return out
