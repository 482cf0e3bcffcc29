"""Staining, illumination, focus and camera of one field."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

FULL_SCALE = 4500.0  # camera counts of the brightest pixel at the usual staining


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
    focus: Float[np.ndarray, " 3"] = field(default_factory=lambda: np.zeros(3))
    """Defocus over the field, as blur in pixels at its edge: slopes downwards and to the right, and
    curvature."""
    haze: float = 0.0
    """Share of the light that is spread over about 12 pixels."""
    texture: float = 0.0
    """Standard deviation of patchy staining, relative to the light."""
    counts_per_electron: float = 2.0
    """Counts of the camera per electron; without the fixed histogram only."""
