"""Illumination correction: divides images by an illumination function, as CellProfiler does.

A channel's function is an image-sized float array that CellProfiler estimates from a whole plate.
"""

import io
from functools import lru_cache

import numpy as np
from jaxtyping import Float32, UInt

from phenomae.images.fields import Place
from phenomae.images.pixels.open_image import open_place
from phenomae.images.pixels.stamp import Stamp, stamp_of


def divide(pixels: UInt[np.ndarray, "h w"], function: Place) -> UInt[np.ndarray, "h w"]:
    """Divide an image by an illumination function (a `.npy`), as CellProfiler applies it.

    The result is rounded and clipped to the range of the image's type. Raises ValueError if the
    function is not an array of the image's size with values above 0.
    """
    light = _read_function(function, stamp_of(function.url))
    if light.shape != pixels.shape:
        raise ValueError(
            f"{function} has the shape {light.shape}, but the image to be divided has "
            f"{pixels.shape}"
        )
    # Functions below 1 brighten: without clipping, bright pixels would wrap around to dark ones.
    limits = np.iinfo(pixels.dtype)
    return np.rint(pixels / light).clip(0, limits.max).astype(pixels.dtype)


@lru_cache(maxsize=16)  # one per channel of a plate, which thousands of images share
def _read_function(place: Place, stamp: Stamp) -> Float32[np.ndarray, "h w"]:
    with open_place(place) as stream:
        try:
            # Without pickle, because a .npy with objects in it could run code.
            light = np.load(io.BytesIO(stream.read()), allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise ValueError(f"{place} is not a readable .npy file: {error}") from None
    if light.ndim != 2 or light.dtype.kind != "f" or not (light > 0).all():
        raise ValueError(f"{place} must be a two-dimensional float array with values above 0")
    return light.astype(np.float32)
