"""Figures that tell a good field from one that is out of focus, saturated or empty."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, UInt

_PERCENTILES = (1, 50, 99)
_FOCUS_SIDE = 1024
_BINS = 256


@dataclass(frozen=True)
class Quality:
    """What is measured of each channel of a field, in the order of its channels."""

    focus: tuple[float, ...]
    """Variance of the Laplacian over the variance of the pixels (Pertuz et al. 2013, LAP4) in the
    middle 1024 x 1024: 20 for white noise, towards 0 for a blur; 0 where all pixels are alike."""
    saturation: tuple[float, ...]
    """Share of pixels of the channel's highest value; hardly any in an image that is not
    saturated (PercentMaximal of CellProfiler, as a share)."""
    foreground: tuple[float, ...]
    """Share of pixels brighter than background + 5 sigma; the background is the commonest level,
    sigma the root mean square of what is darker than it."""
    percentiles: tuple[tuple[float, ...], ...]
    """1, 50 and 99."""

    def row(self) -> dict[str, float | list[float]]:
        """Return the figures under their names in `records.FIELD_COLUMNS`."""
        low, middle, high = (list(values) for values in zip(*self.percentiles, strict=True))
        return {
            "focus": min(self.focus),
            "saturation": max(self.saturation),
            "foreground": max(self.foreground),
            "channel_focus": list(self.focus),
            "channel_saturation": list(self.saturation),
            "channel_foreground": list(self.foreground),
            "percentile_1": low,
            "percentile_50": middle,
            "percentile_99": high,
        }


def measure_quality(
    pixels: UInt[np.ndarray, "c h w"], levels: Int64[np.ndarray, "c levels"]
) -> Quality:
    """Measure every channel of a field; `levels` is what `count_levels` makes of it."""
    return Quality(
        focus=tuple(_focus(channel) for channel in pixels),
        saturation=tuple(_saturation(counts) for counts in levels),
        foreground=tuple(_foreground(counts) for counts in levels),
        percentiles=tuple(tuple(percentiles(counts, _PERCENTILES)) for counts in levels),
    )


def count_levels(pixels: UInt[np.ndarray, "c h w"]) -> Int64[np.ndarray, "c levels"]:
    """Count the pixels of every level that the type has, channel by channel."""
    levels = int(np.iinfo(pixels.dtype).max) + 1
    return np.stack([np.bincount(channel.ravel(), minlength=levels) for channel in pixels])


def percentiles(counts: Int64[np.ndarray, " levels"], wanted: Sequence[float]) -> list[float]:
    """Return percentiles of pixels counted by level: the smallest value that at least that share
    of them does not exceed."""
    cumulative = np.cumsum(counts)
    ranks = np.maximum(np.ceil(np.array(wanted) / 100 * cumulative[-1]), 1)
    return np.searchsorted(cumulative, ranks).astype(float).tolist()


def _focus(channel: UInt[np.ndarray, "h w"]) -> float:
    height, width = (min(side, _FOCUS_SIDE) for side in channel.shape)
    if min(height, width) < 3:
        return 0.0
    top, left = (channel.shape[0] - height) // 2, (channel.shape[1] - width) // 2
    middle = channel[top : top + height, left : left + width].astype(np.float32)
    middle -= middle.mean()  # or the sums of float32 would lose what little an even image varies
    around = middle[:-2, 1:-1] + middle[2:, 1:-1] + middle[1:-1, :-2] + middle[1:-1, 2:]
    around -= 4 * middle[1:-1, 1:-1]
    variance = float(middle.var())
    return float(around.var()) / variance if variance > 0 else 0.0


def _saturation(counts: Int64[np.ndarray, " levels"]) -> float:
    seen = np.flatnonzero(counts)
    if seen[-1] == 0:
        return 0.0
    return float(counts[seen[-1]] / counts.sum())


def _foreground(counts: Int64[np.ndarray, " levels"]) -> float:
    levels = np.flatnonzero(counts)
    low, high = levels[0], int(percentiles(counts, [99])[0])
    step = max((high - low) // _BINS, 1)  # single levels of 16 bits are too rare to be compared
    grouped = np.add.reduceat(counts, np.arange(low, len(counts), step))
    background = low + (int(np.argmax(grouped)) + 0.5) * step - 0.5
    darker = levels[levels <= background]
    spread = counts[darker] @ (darker - background) ** 2 / max(counts[darker].sum(), 1)
    limit = background + 5 * max(np.sqrt(spread), 0.5 * step)
    return float(counts[levels[levels > limit]].sum() / counts.sum())
