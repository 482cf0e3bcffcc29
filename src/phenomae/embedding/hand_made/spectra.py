"""Radial power spectra of every channel, and cross-spectra of every pair of channels.

They hold the second-order statistics of an image that do not depend on direction: how strong
structures of each size are, and how two stains lie relative to each other. No network is needed to
see such structures, so a trained network is worth something only beyond these features.
"""

from dataclasses import dataclass
from functools import cache
from itertools import combinations

import numpy as np
from jaxtyping import Float32, Float64, Int64, UInt
from scipy import fft

from phenomae.embedding.hand_made.kind import Describe, Kind, View

_BANDS = 16
_MIN_SIDE = 8
_NO_POWER = 1e-12  # relative to white noise; keeps the logarithm of a constant channel finite


@dataclass(frozen=True)
class Spectra:
    """Computes spectra in bands of equal width, the same bands for images of all sizes."""

    bands: int
    """Bands between frequency 0 and one wave per 2 pixels. Of 16, band 1 holds wavelengths of more
    than 32 pixels (but not the mean), band 2 those from 16 to 32, band 16 those from 2 to 2.13."""

    def __call__(self, pixels: UInt[np.ndarray, "c h w"]) -> Float64[np.ndarray, " d"]:
        """Return the log power of each channel in each band, then the coherence of each pair.

        Channels are standardised. Power is the mean squared magnitude of the Fourier coefficients
        of a band, 1 for white noise; coherence the mean real cross-power of two channels relative
        to both powers, from -1 to 1. Both are invariant to turns by 90 degrees, flips, and the gain
        and offset of a channel. A constant channel has power 1e-12 and coherence 0.
        """
        # No window function: it hides what the edges cut, and half of the cells with it. On the
        # screen of level easy a Hann window took .05 of the recall (docs/log.md, 2026-11-28).
        channels, height, width = pixels.shape
        images = pixels.astype(np.float32)
        images -= images.mean(axis=(1, 2), keepdims=True)
        deviations = images.std(axis=(1, 2), keepdims=True)
        images /= np.where(deviations > 0, deviations, 1)
        layout = _lay_out(height, width, self.bands)
        plane = np.asarray(fft.rfft2(images)).reshape(channels, -1)
        values = plane.take(layout.order, axis=1) * layout.weights
        # Real and imaginary parts side by side: their products sum to the real cross-powers.
        parts = np.split(values.view(np.float32), 2 * layout.ends[:-1], axis=1)
        cross = np.stack([part @ part.T for part in parts]).astype(np.float64)
        return _features(cross)


def _features(cross: Float64[np.ndarray, "bands c c"]) -> Float64[np.ndarray, " d"]:
    power = np.diagonal(cross, axis1=1, axis2=2)
    pairs = np.array(list(combinations(range(power.shape[1]), 2)), dtype=int).reshape(-1, 2)
    first, second = pairs.T
    scale = np.sqrt(power[:, first] * power[:, second])
    coherence = cross[:, first, second] / np.where(scale > 0, scale, 1)
    return np.concatenate([np.log(power + _NO_POWER).T.ravel(), coherence.T.ravel()])


@dataclass(frozen=True)
class _Layout:
    """The coefficients of the half plane that `rfft2` returns, band by band."""

    order: Int64[np.ndarray, " n"]
    ends: Int64[np.ndarray, " bands"]
    weights: Float32[np.ndarray, " n"]
    """Square roots of the weights with which squared magnitudes are averaged."""


@cache
def _lay_out(height: int, width: int, bands: int) -> _Layout:
    rows, columns = fft.fftfreq(height)[:, None], fft.rfftfreq(width)[None]
    frequency = np.hypot(rows, columns).ravel()
    # The small number keeps frequencies at the end of a band, such as 1/4, from the next one.
    band = np.ceil(2 * bands * frequency - 1e-9) - 1
    # Left out: the mean, and corners beyond the Nyquist frequency.
    used = np.flatnonzero((band >= 0) & (band < bands))
    order = used[np.argsort(band[used], kind="stable")]
    sizes = np.bincount(band[order].astype(int), minlength=bands)
    # All but the first column (and the last of an even width) stand for two coefficients.
    twice = np.full(width // 2 + 1, 2.0)
    twice[0] = 1
    if width % 2 == 0:
        twice[-1] = 1
    multiplicity = np.tile(twice, height)[order]
    totals = np.add.reduceat(multiplicity, np.cumsum(sizes) - sizes)
    noise = height * width  # the power of white noise
    weights = np.sqrt(multiplicity / (np.repeat(totals, sizes) * noise)).astype(np.float32)
    return _Layout(order, np.cumsum(sizes), weights)


def _make(view: View) -> Describe:
    if view.side < _MIN_SIDE:
        raise ValueError(
            f"{view.source}: spectra need images of at least {_MIN_SIDE} pixels per side, not "
            f"{view.side}"
        )
    # In a smaller image, narrower bands would hold no frequency.
    return Spectra(bands=min(_BANDS, view.side // 2))


KIND = Kind(from_pixels=_make, recorded={"bands": "16 of equal width, no window"})
