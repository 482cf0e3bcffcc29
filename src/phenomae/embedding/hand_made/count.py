"""A proxy of the number of cells: foreground and blobs of the nuclear channel.

It is no segmentation: touching nuclei count as one. What cell number explains needs no shapes.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, UInt
from scipy import ndimage

from phenomae.embedding.hand_made.kind import Describe, Kind, View

NUCLEAR = ("dna", "dapi", "hoechst", "nuclei", "nucleus", "h2b", "draq5", "hoechst 33342")
"""Names of channels that are taken to show nuclei, in lower case."""
_SMOOTHING = 2.0  # pixels; blobs of noise are smaller
_MIN_AREA = 30  # pixels
_LEVELS = 256


@dataclass(frozen=True)
class Count:
    """Counts the blobs of one channel."""

    nucleus: int
    """Index of the nuclear channel."""

    def __call__(self, pixels: UInt[np.ndarray, "c h w"]) -> Float64[np.ndarray, " 3"]:
        """Return log(1 + blobs), the fraction of foreground pixels, and the mean area of a blob.

        The channel is smoothed (Gaussian, 2 pixels) and thresholded (Otsu 1979, of the image); a
        blob is a connected component of at least 30 pixels. The area is in pixels, 0 without blobs.
        """
        smooth = ndimage.gaussian_filter(pixels[self.nucleus].astype(np.float32), _SMOOTHING)
        labels = np.empty(smooth.shape, dtype=np.int32)
        ndimage.label(smooth > otsu(smooth), output=labels)
        areas = np.bincount(labels.ravel())[1:]
        areas = areas[areas >= _MIN_AREA]
        mean = areas.mean() if len(areas) else 0.0
        return np.array([np.log1p(len(areas)), areas.sum() / labels.size, mean])


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


def _make(view: View) -> Describe:
    chosen = view.settings.nuclear_channel
    names = [name.lower() for name in view.channels]
    if chosen:
        if chosen not in view.channels:
            raise ValueError(
                f"nuclear_channel must be one of {', '.join(view.channels)}, not {chosen!r}"
            )
        return Count(list(view.channels).index(chosen))
    known = [at for at, name in enumerate(names) if name.startswith(NUCLEAR)]
    if len(known) != 1:
        raise ValueError(
            f"{view.source}: no single channel of {', '.join(view.channels)} is known to show "
            "nuclei: name it with nuclear_channel"
        )
    return Count(known[0])


KIND = Kind(from_pixels=_make, settings=("nuclear_channel",))
