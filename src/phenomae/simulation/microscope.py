"""Turns drawn cells into a camera image: focus, a fixed histogram, staining, illumination, noise.

A channel has the same histogram in every field before staining and camera are applied. So a
perturbation changes only *where* the light is: the statistics of a channel's pixel values depend,
apart from a little uneven illumination, on nuisance alone, and intensity features cannot detect
perturbations.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float, Float32, UInt16
from scipy import ndimage

# Per channel: share of background pixels, and exponent of the rise of intensity above background.
# Nuclei and the Golgi apparatus fill little of a field, the other stains about half of it.
_HISTOGRAMS = ((0.82, 0.6), (0.46, 2.6), (0.42, 1.6), (0.40, 1.7), (0.86, 1.3), (0.46, 2.0))
_FLOOR = 0.03  # brightest background, relative to the brightest pixel


@dataclass(frozen=True)
class Exposure:
    """Staining, illumination, focus and camera of one field."""

    gain: Float[np.ndarray, " c"]
    """Camera counts of each channel's brightest pixel, without background and illumination."""
    background: Float[np.ndarray, " c"]
    """Camera counts added to every pixel, per channel."""
    blur: float
    """Defocus: standard deviation of a Gaussian blur, in pixels."""
    tilt: Float[np.ndarray, " 4"]
    """Illumination: slope downwards, slope to the right, curvature, shift of the brightest point
    from the field's centre."""
    photons_per_count: float
    read_noise: float
    """Standard deviation of the camera's read noise, in counts."""


def photograph(
    light: Float32[np.ndarray, "c h w"], exposure: Exposure, rng: np.random.Generator
) -> UInt16[np.ndarray, "c h w"]:
    """Return the camera image, in counts, of the noise-free image `light`."""
    shares = equalise(light, exposure.blur)
    lamp = _illumination(exposure.tilt, light.shape[1], light.shape[2])
    gain = exposure.gain.astype(np.float32)[:, None, None]
    background = exposure.background.astype(np.float32)[:, None, None]
    counts = shares * (gain * lamp) + background
    noise = rng.standard_normal(counts.shape, dtype=np.float32)
    # A normal distribution with variance = mean approximates Poisson well at hundreds of photons,
    # and is much faster to draw.
    variance = counts / np.float32(exposure.photons_per_count) + np.float32(exposure.read_noise**2)
    return np.clip(np.round(counts + np.sqrt(variance) * noise), 0, 65535).astype(np.uint16)


def equalise(light: Float32[np.ndarray, "c h w"], blur: float) -> Float32[np.ndarray, "c h w"]:
    """Blur every channel and replace pixel values, by rank, with the channel's fixed histogram.

    Values of the histogram are from 0 to 1.
    """
    result = np.empty_like(light)
    for channel, image in enumerate(light):
        # The faint halo breaks ties among background pixels, which argsort would otherwise rank by
        # their position.
        blurred = ndimage.gaussian_filter(image, blur, truncate=3) + 0.02 * _halo(image)
        order = np.argsort(blurred, axis=None)
        result[channel].ravel()[order] = _histogram(channel, image.size)
    return result


def _halo(image: Float32[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
    """Return the image blurred by about 12 pixels, computed at a quarter of the size for speed."""
    small = ndimage.gaussian_filter(image[::4, ::4], 3.0)
    return ndimage.uniform_filter(small.repeat(4, 0).repeat(4, 1), 5)


@cache
def _histogram(channel: int, size: int) -> Float32[np.ndarray, " size"]:
    background, steepness = _HISTOGRAMS[channel]
    share = np.linspace(0, 1, size)
    risen = np.clip((share - background) / (1 - background), 0, 1) ** steepness
    return (_FLOOR * share + (1 - _FLOOR) * risen).astype(np.float32)


def _illumination(tilt: np.ndarray, height: int, width: int) -> Float32[np.ndarray, "h w"]:
    down, right, curvature, shift = tilt.astype(np.float32)
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    dome = curvature * ((y - shift) ** 2 + (x + shift) ** 2)
    # Even with strong nuisance, every pixel keeps at least a fifth of the light.
    return np.clip(1 + down * y + right * x - dome, 0.2, None)
