"""Quality measures of fields: focus, saturation and foreground.

Sums over pixels are sums of integers, which do not depend on the order of summation, so that every
machine computes the same values.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, UInt

_PERCENTILES = (1, 50, 99)
_FOCUS_PIXELS = 2**20
# Pixels counted at a time: few enough that the int64 copy which numpy makes stays in the CPU's
# cache. A field of 6 x 2048 x 2048 takes 28 ms, or 48 ms if each channel is counted at once.
_COUNTED_AT_ONCE = 2**18
_BINS = 256


@dataclass(frozen=True)
class Quality:
    """Quality measures of one field, one value per channel."""

    focus: tuple[float, ...]
    """1 - C(2) / C(1), where C(k) is the covariance of pixels k apart in a row or column: Vollath's
    F4 (1987) over C(1). Camera noise is uncorrelated between pixels and does not contribute. The
    focus is 1 - exp(-3 / (4 s^2)) for points blurred by a Gaussian of s pixels, and 0 for noise."""
    saturation: tuple[float, ...]
    """Share of pixels that have the channel's highest value, if they outnumber the pixels of the
    second highest value; else 0."""
    foreground: tuple[float, ...]
    """Share of pixels brighter than background + 5 sigma. The background is the most common grey
    level; sigma is the root mean square distance of the darker pixels from the background."""
    percentiles: tuple[tuple[float, ...], ...]
    """Percentiles 1, 50 and 99 of the pixels."""


def measure_quality(
    pixels: UInt[np.ndarray, "c h w"], levels: Int64[np.ndarray, "c levels"]
) -> Quality:
    """Return the quality measures of a field; `levels` is the result of `count_levels`."""
    return Quality(
        focus=tuple(map(_focus, pixels, levels)),
        saturation=tuple(map(_saturation, levels)),
        foreground=tuple(map(_foreground, levels)),
        percentiles=tuple(tuple(percentiles(counts, _PERCENTILES)) for counts in levels),
    )


def quality_columns(fields: Sequence[Quality]) -> dict[str, list[float] | list[list[float]]]:
    """Return the quality columns of `records.FIELD_COLUMNS` for all fields of one plate.

    Each channel's focus is divided by its median over the plate's fields, because stains differ in
    how fine their structures are; the column `focus` is the minimum of these ratios over channels.
    Channels whose median focus is 0 are left out of the minimum.
    """
    focus = np.array([field.focus for field in fields])
    usual = np.median(focus, axis=0)
    seen = usual > 0  # with a median of 0, at least half of the fields have only noise here
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
    """Return a histogram per channel: the number of pixels of every grey level of the dtype."""
    channels, height, width = pixels.shape
    counts = np.zeros((channels, int(np.iinfo(pixels.dtype).max) + 1), np.int64)
    rows = max(_COUNTED_AT_ONCE // width, 1)  # bincount copies its input as int64
    for channel, levels in zip(pixels, counts, strict=True):
        for top in range(0, height, rows):
            found = np.bincount(channel[top : top + rows].ravel())
            levels[: len(found)] += found
    return counts


def percentiles(counts: Int64[np.ndarray, " levels"], percents: Sequence[float]) -> list[float]:
    """Return percentiles of pixels, given the number of pixels of every grey level.

    The p-th percentile is the smallest level that at least p percent of the pixels do not exceed,
    like numpy's method `inverted_cdf`.
    """
    cumulative = np.cumsum(counts)
    ranks = np.maximum(np.ceil(np.array(percents) / 100 * cumulative[-1]), 1)
    return np.searchsorted(cumulative, ranks).astype(float).tolist()


def _focus(channel: UInt[np.ndarray, "h w"], counts: Int64[np.ndarray, " levels"]) -> float:
    height, width = channel.shape
    if min(height, width) < 3:
        return 0.0
    stride = max(channel.size // _FOCUS_PIXELS, 1)  # about a million pixels suffice: skip rows
    rows = channel[:-2:stride]
    near = _square_step(rows, channel[1:-1:stride]), _square_step(rows[:, 1:], rows[:, :-1])
    far = _square_step(rows, channel[2::stride]), _square_step(rows[:, 2:], rows[:, :-2])
    # The mean square of the step between pixels k apart is 2 (C(0) - C(k)).
    covariance = _variance(counts) - sum(near) / 4
    # For pure noise this covariance scatters around 0; its standard deviation is the variance over
    # the square root of the number of pairs of neighbours, twice that of pixels. A covariance below
    # four standard deviations is taken for noise.
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
    # The maximum of the dtype is no sign of saturation: a 12-bit camera saturates at 4095, which no
    # header states. In a saturated image the highest value that occurs is more frequent than the
    # second highest.
    seen = np.flatnonzero(counts)
    highest = counts[seen[-1]]
    if seen[-1] == 0 or (len(seen) > 1 and highest <= counts[seen[-2]]):
        return 0.0
    return float(highest / counts.sum())


def _foreground(counts: Int64[np.ndarray, " levels"]) -> float:
    levels = np.flatnonzero(counts)
    low, high = levels[0], int(percentiles(counts, [99])[0])
    step = max((high - low) // _BINS, 1)  # single 16-bit levels have too few pixels for a mode
    grouped = np.add.reduceat(counts, np.arange(low, len(counts), step))
    # Twice the middle of the fullest bin, because the middle itself may lie between two integers.
    twice = 2 * low + (2 * int(np.argmax(grouped)) + 1) * step - 1
    darker = levels[2 * levels <= twice]
    spread = int(counts[darker] @ (2 * darker - twice) ** 2) / max(int(counts[darker].sum()), 1)
    limit = twice + 5 * max(np.sqrt(spread), step)
    return float(counts[levels[2 * levels > limit]].sum() / counts.sum())
