"""Separates the foreground of a channel from its background, by Otsu's threshold."""

import numpy as np
from jaxtyping import Float32, Shaped
from scipy import ndimage

SMOOTHING = 2.0
"""Standard deviation of the Gaussian in pixels; blobs of noise are smaller."""
MIN_AREA = 30
"""Smallest area of a blob in pixels."""
_LEVELS = 256


def smooth(channel: Shaped[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
    """Return the channel after a Gaussian of `SMOOTHING` pixels."""
    return ndimage.gaussian_filter(channel.astype(np.float32), SMOOTHING)


def otsu(image: Float32[np.ndarray, "h w"]) -> float:
    """Return the threshold with the largest variance between the two classes (Otsu 1979).

    Thresholds are the edges of 256 bins between the smallest and the largest pixel. A constant
    image has its only value as threshold, so that nothing is above it.
    """
    low, high = float(image.min()), float(image.max())
    if low == high:
        return high
    counts, edges = np.histogram(image, bins=_LEVELS, range=(low, high))
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1] / image.size
    mean_below = np.cumsum(counts * centres)[:-1] / image.size
    mean = (counts * centres).sum() / image.size
    between = (mean * below - mean_below) ** 2 / np.maximum(below * (1 - below), 1e-12)
    return float(edges[1 + np.argmax(between)])
