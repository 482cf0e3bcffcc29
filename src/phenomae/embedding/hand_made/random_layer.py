"""One layer of random filters: what a network sees before it has learned anything.

Each crop is standardised and cut into patches, as by the first layer of a vision transformer; a
GELU of random projections of the patches is averaged over them. The average of such a nonlinearity
holds the power of the image as each filter weighs it, so texture and structure are seen.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, UInt
from scipy.special import ndtr, ndtri

from phenomae.crops.random_numbers import Purpose, draw
from phenomae.crops.turns import TURNS, Turns, turn_image
from phenomae.embedding.hand_made.kind import Describe, Kind, View

_EPS = 1e-5  # for intensities from 0 to 1, as in the standardisation of the networks


@dataclass(frozen=True)
class RandomLayer:
    """Averages a GELU of random projections over the patches of an image."""

    filters: Float32[np.ndarray, "turns k d"]
    """Normal random numbers of variance 1 / k, in some turns; pixels are ordered row, column,
    channel. To turn the filters is to turn the image."""
    side: int
    """Side of a patch in pixels."""

    def __call__(self, pixels: UInt[np.ndarray, "c h w"]) -> Float64[np.ndarray, " d"]:
        """Return the mean of GELU(patch @ filters) over the patches; edges that fill none are cut.

        GELU(x) is x times the normal distribution function of x (Hendrycks & Gimpel 2016).
        """
        patches = _cut(_standardise(pixels), self.side)
        projected = (patches @ filters for filters in self.filters)
        means = [(values * ndtr(values)).mean(axis=0, dtype=np.float64) for values in projected]
        return np.mean(means, axis=0)


def turn_filters(filters: Float32[np.ndarray, "k d"], side: int, turns: Turns) -> np.ndarray:
    """Return the filters in each turn, (turns, k, d)."""
    images = filters.reshape(side, side, -1).transpose(2, 0, 1)
    turned = [turn_image(images, bits).transpose(1, 2, 0) for bits in TURNS[turns]]
    return np.stack([image.reshape(filters.shape) for image in turned])


def _standardise(pixels: UInt[np.ndarray, "c h w"]) -> Float32[np.ndarray, "c h w"]:
    images = pixels / np.float32(np.iinfo(pixels.dtype).max)
    images -= images.mean(axis=(1, 2), keepdims=True)
    variance = np.square(images).mean(axis=(1, 2), keepdims=True)
    return images / np.sqrt(variance + _eps(pixels.dtype))


def _eps(dtype: np.dtype) -> float:
    # uint16 pixels use a small part of their range, so the same eps would outweigh their variance.
    return _EPS if dtype == np.uint8 else _EPS / 256**2


def _cut(images: Float32[np.ndarray, "c h w"], side: int) -> Float32[np.ndarray, "p k"]:
    channels, rows, columns = len(images), images.shape[1] // side, images.shape[2] // side
    grid = images[:, : rows * side, : columns * side].reshape(channels, rows, side, columns, side)
    return grid.transpose(1, 3, 2, 4, 0).reshape(rows * columns, -1)


def _make(view: View) -> Describe:
    side, count = view.settings.filter_size, view.settings.filters
    if view.side < side:
        raise ValueError(
            f"{view.source}: filter_size must be at most {view.side}, the smallest side of an "
            f"image, not {side}"
        )
    inputs = side**2 * len(view.channels)
    # The inverse of the distribution function, because numpy's own normal numbers may change.
    uniform = draw(view.settings.seed, 0, Purpose.FILTER, range(inputs), count)
    normal = ndtri(np.maximum(uniform, 2.0**-54)) / np.sqrt(inputs)
    filters = turn_filters(normal.astype(np.float32), side, view.settings.turns)
    return RandomLayer(filters, side)


KIND = Kind(from_pixels=_make, settings=("filters", "filter_size", "seed", "turns"))
