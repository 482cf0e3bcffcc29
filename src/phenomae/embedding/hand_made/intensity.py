"""Intensity statistics of every channel: brightness without shape or texture."""

import numpy as np
from jaxtyping import Float64, Int64, UInt

from phenomae.embedding.hand_made.kind import Kind

PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
STATISTICS = ("mean", "sd", *(f"percentile {at}" for at in PERCENTILES), "skewness", "kurtosis")


def describe_field(pixels: UInt[np.ndarray, "c h w"]) -> Float64[np.ndarray, " d"]:
    """Return the `STATISTICS` of every channel, one channel after the other.

    Standard deviation and moments are divided by the number of pixels (not by one less). Kurtosis
    is excess kurtosis, 0 for a normal distribution. Both moments of a constant channel are 0.
    """
    return np.concatenate([_describe_channel(channel.ravel()) for channel in pixels])


def _describe_channel(pixels: UInt[np.ndarray, " n"]) -> Float64[np.ndarray, " k"]:
    """Return the `STATISTICS` of one channel."""
    # From the histogram, because there are fewer intensity levels than pixels.
    counts = np.bincount(pixels)
    values = np.flatnonzero(counts)
    weights = counts[values] / len(pixels)
    mean = values @ weights
    # Central moments from offsets, because differences of raw moments would cancel.
    offsets = values - mean
    squares = offsets * offsets
    variance, third, fourth = (
        power @ weights for power in (squares, squares * offsets, squares * squares)
    )
    shape = (third / variance**1.5, fourth / variance**2 - 3) if variance else (0.0, 0.0)
    return np.array([mean, np.sqrt(variance), *_percentiles(values, counts[values]), *shape])


def _percentiles(
    values: Int64[np.ndarray, " v"], counts: Int64[np.ndarray, " v"]
) -> Float64[np.ndarray, " k"]:
    """Return the `PERCENTILES`, linearly interpolated, of `values` that occur `counts` times."""
    # The pixel of rank r is the first value whose cumulative count exceeds r.
    ends = np.cumsum(counts)
    places = np.array(PERCENTILES) / 100 * (ends[-1] - 1)
    below, above = (
        values[np.searchsorted(ends, rank(places), side="right")] for rank in (np.floor, np.ceil)
    )
    return below + (above - below) * (places - np.floor(places))


KIND = Kind(from_pixels=lambda view: describe_field, recorded={"statistics": list(STATISTICS)})
