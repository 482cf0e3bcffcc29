"""Quality measures of fields: focus, saturation and foreground.

All sums are of integers, whose order does not matter, so that every machine computes the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, UInt

_PERCENTILES = (1, 50, 99)
_FOCUS_PIXELS = 2**20
# Pixels that are counted at a time: few enough that numpy's copy stays in the processor's cache. A
# field of 6 x 2048 x 2048 takes 28 ms, and 48 ms in one piece.
_COUNTED_AT_ONCE = 2**18
_BINS = 256


@dataclass(frozen=True)
class Quality:
    """Quality measures of one field, one value per channel."""

    focus: tuple[float, ...]
    """1 - C(2) / C(1), where C(k) is the covariance of pixels k apart in a row or column: Vollath's
    F4 (1987) over C(1). Noise of neighbouring pixels is uncorrelated, so it does not count. It is
    1 - exp(-3 / (4 s^2)) for points blurred by a Gaussian of s pixels, and 0 for noise alone."""
    saturation: tuple[float, ...]
    """Share of pixels of the channel's highest value, if there are more of them than of the next
    value that occurs; else 0."""
    foreground: tuple[float, ...]
    """Share of pixels brighter than background + 5 sigma. The background is the most common level;
    sigma is the root mean square of the darker pixels' distance from it."""
    percentiles: tuple[tuple[float, ...], ...]
    """Percentiles 1, 50 and 99 of the pixels."""


def measure_quality(
    pixels: UInt[np.ndarray, "c h w"], levels: Int64[np.ndarray, "c levels"]
) -> Quality:
    """Measure every channel of a field; `levels` is the result of `count_levels`."""
    return Quality(
        focus=tuple(map(_focus, pixels, levels)),
        saturation=tuple(map(_saturation, levels)),
        foreground=tuple(map(_foreground, levels)),
        percentiles=tuple(tuple(percentiles(counts, _PERCENTILES)) for counts in levels),
    )


def quality_columns(fields: Sequence[Quality]) -> dict[str, list[float] | list[list[float]]]:
    """Return the quality columns of `records.FIELD_COLUMNS` for all fields of one plate.

    The column `focus` is the lowest over the channels of focus / (the plate's median focus of that
    channel), because stains differ in how fine they are. Channels that are empty in more than half
    of the fields are left out.
    """
    focus = np.array([field.focus for field in fields])
    usual = np.median(focus, axis=0)
    seen = usual > 0  # a median of 0 means that most fields have only noise in this channel
    relative = (focus[:, seen] / usual[seen]).min(axis=1) if seen.any() else np.zeros(len(fields))
    low, middle, high = np.moveaxis(np.array([field.percentiles for field in fields]), 2, 0)
    return {
        "focus": relative.tolist(),
        "saturation": [max(field.saturation) for field in fields],
        "foreground": [max(field.foreground) for field in fields],
        "channel_focus": focus.tolist(),
        "channel_saturation": [list(field.saturation) for field in fields],
        "channel_foreground": [list(field.foreground) for field in fields],
        "percentile_1": low.tolist(),
        "percentile_50": middle.tolist(),
        "percentile_99": high.tolist(),
    }


def count_levels(pixels: UInt[np.ndarray, "c h w"]) -> Int64[np.ndarray, "c levels"]:
    """Return the number of pixels of every grey level of the type, channel by channel."""
    channels, height, width = pixels.shape
    counts = np.zeros((channels, int(np.iinfo(pixels.dtype).max) + 1), np.int64)
    rows = max(_COUNTED_AT_ONCE // width, 1)  # bincount converts every pixel to eight bytes
    for channel, levels in zip(pixels, counts, strict=True):
        for top in range(0, height, rows):
            found = np.bincount(channel[top : top + rows].ravel())
            levels[: len(found)] += found
    return counts


def percentiles(counts: Int64[np.ndarray, " levels"], percents: Sequence[float]) -> list[float]:
    """Return percentiles of pixels, given the number of pixels of every level.

    Each is the smallest level that at least that percentage of the pixels do not exceed, as numpy's
    `inverted_cdf`.
    """
    cumulative = np.cumsum(counts)
    ranks = np.maximum(np.ceil(np.array(percents) / 100 * cumulative[-1]), 1)
    return np.searchsorted(cumulative, ranks).astype(float).tolist()


def _focus(channel: UInt[np.ndarray, "h w"], counts: Int64[np.ndarray, " levels"]) -> float:
    height, width = channel.shape
    if min(height, width) < 3:
        return 0.0
    stride = max(channel.size // _FOCUS_PIXELS, 1)  # a million pixels are enough: skip rows
    rows = channel[:-2:stride]
    near = _square_step(rows, channel[1:-1:stride]), _square_step(rows[:, 1:], rows[:, :-1])
    far = _square_step(rows, channel[2::stride]), _square_step(rows[:, 2:], rows[:, :-2])
    # The mean square of the step between pixels k apart is 2 (C(0) - C(k)).
    covariance = _variance(counts) - sum(near) / 4
    # The covariance of pure noise scatters around 0 with a standard deviation of variance over the
    # root of the number of pairs (rows and columns: twice the pixels). Below four times that there
    # is no structure to be measured.
    chance = 4 * _variance(counts) / np.sqrt(2 * rows.size)
    if covariance <= chance:
        return 0.0
    return max((sum(far) - sum(near)) / 4 / covariance, 0.0)


def _square_step(one: UInt[np.ndarray, "h w"], other: UInt[np.ndarray, "h w"]) -> float:
    step = one.astype(np.int64) - other  # unsigned differences would wrap around below 0
    return float(np.einsum("ij,ij->", step, step) / step.size)


def _variance(counts: Int64[np.ndarray, " levels"]) -> float:
    levels, size = np.arange(len(counts)), int(counts.sum())
    total, squares = int(counts @ levels), int(counts @ levels**2)
    return (size * squares - total**2) / size**2


def _saturation(counts: Int64[np.ndarray, " levels"]) -> float:
    # Not the type's largest value: a camera of 12 bits saturates at 4095, which no header states.
    # Pixels that pile up at the highest value that occurs are the sign.
    seen = np.flatnonzero(counts)
    highest = counts[seen[-1]]
    if seen[-1] == 0 or (len(seen) > 1 and highest <= counts[seen[-2]]):
        return 0.0
    return float(highest / counts.sum())


def _foreground(counts: Int64[np.ndarray, " levels"]) -> float:
    levels = np.flatnonzero(counts)
    low, high = levels[0], int(percentiles(counts, [99])[0])
    step = max((high - low) // _BINS, 1)  # single levels of 16 bits have too few pixels each
    grouped = np.add.reduceat(counts, np.arange(low, len(counts), step))
    twice = 2 * low + (2 * int(np.argmax(grouped)) + 1) * step - 1  # twice the bin's middle
    darker = levels[2 * levels <= twice]
    spread = int(counts[darker] @ (2 * darker - twice) ** 2) / max(int(counts[darker].sum()), 1)
    limit = twice + 5 * max(np.sqrt(spread), step)
    return float(counts[levels[2 * levels > limit]].sum() / counts.sum())
