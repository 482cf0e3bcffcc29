"""Turns drawn cells into a camera image: optics, brightness, illumination, noise."""

import numpy as np
from jaxtyping import Float32, UInt16

from phenomae.simulation.camera import add_photon_noise, scale_light
from phenomae.simulation.exposure import Exposure
from phenomae.simulation.histogram import assign_histogram
from phenomae.simulation.optics import blur_field, illuminate


def photograph(
    light: Float32[np.ndarray, "c h w"],
    exposure: Exposure,
    rng: np.random.Generator,
    fixed_histogram: bool = True,
) -> UInt16[np.ndarray, "c h w"]:
    """Return the camera image, in counts, of the noise-free image `light`."""
    blurred = blur_field(light, exposure, rng)
    shares = assign_histogram(blurred, light) if fixed_histogram else scale_light(blurred)
    lamp = illuminate(exposure.tilt, light.shape[1], light.shape[2])
    gain = exposure.gain.astype(np.float32)[:, None, None]
    background = exposure.background.astype(np.float32)[:, None, None]
    counts = shares * (gain * lamp) + background
    if not fixed_histogram:
        return add_photon_noise(counts, exposure, rng)
    noise = rng.standard_normal(counts.shape, dtype=np.float32)
    # A normal distribution with variance = mean approximates Poisson well at hundreds of photons,
    # and is much faster to draw.
    variance = counts / np.float32(exposure.photons_per_count) + np.float32(exposure.read_noise**2)
    return np.clip(np.round(counts + np.sqrt(variance) * noise), 0, 65535).astype(np.uint16)
