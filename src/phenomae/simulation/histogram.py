"""The fixed histogram of level easy, which makes intensity features fail.

A channel has the same histogram in every field before staining and camera are applied. So a
perturbation changes only *where* the light is: the statistics of a channel's pixel values depend,
apart from a little uneven illumination, on nuisance alone.
"""

from functools import cache

import numpy as np
from jaxtyping import Float32

from phenomae.simulation.optics import halo

# Per channel: share of background pixels, and exponent of the rise of intensity above background.
# Nuclei and the Golgi apparatus fill little of a field, the other stains about half of it.
_HISTOGRAMS = ((0.82, 0.6), (0.46, 2.6), (0.42, 1.6), (0.40, 1.7), (0.86, 1.3), (0.46, 2.0))
_FLOOR = 0.03  # brightest background, relative to the brightest pixel


def assign_histogram(
    blurred: Float32[np.ndarray, "c h w"], light: Float32[np.ndarray, "c h w"]
) -> Float32[np.ndarray, "c h w"]:
    """Replace the pixel values of every channel, by rank, with the channel's fixed histogram.

    `light` is the image before it was blurred. Values of the histogram are from 0 to 1.
    """
    result = np.empty_like(light)
    for channel, (image, sharp) in enumerate(zip(blurred, light, strict=True)):
        # The faint halo breaks ties among background pixels, which argsort would otherwise rank by
        # their position.
        order = np.argsort(image + 0.02 * halo(sharp), axis=None)
        result[channel].ravel()[order] = _histogram(channel, image.size)
    return result


@cache
def _histogram(channel: int, size: int) -> Float32[np.ndarray, " size"]:
    background, steepness = _HISTOGRAMS[channel]
    share = np.linspace(0, 1, size)
    risen = np.clip((share - background) / (1 - background), 0, 1) ** steepness
    return (_FLOOR * share + (1 - _FLOOR) * risen).astype(np.float32)
