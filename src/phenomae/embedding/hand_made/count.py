"""A proxy of the number of cells: foreground and blobs of the nuclear channel.

It is no segmentation: touching nuclei count as one. What cell number explains needs no shapes.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, UInt
from scipy import ndimage

from phenomae.embedding.hand_made.foreground import MIN_AREA, otsu, smooth
from phenomae.embedding.hand_made.kind import Kind
from phenomae.embedding.hand_made.nuclear_channel import find_nuclear_channel


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
        image = smooth(pixels[self.nucleus])
        labels = np.empty(image.shape, dtype=np.int32)
        ndimage.label(image > otsu(image), output=labels)
        areas = np.bincount(labels.ravel())[1:]
        areas = areas[areas >= MIN_AREA]
        mean = areas.mean() if len(areas) else 0.0
        return np.array([np.log1p(len(areas)), areas.sum() / labels.size, mean])


KIND = Kind(
    from_pixels=lambda view: Count(find_nuclear_channel(view)), settings=("nuclear_channel",)
)
