"""Evens out the microscope's light: images divided by an illumination function."""

import io
from functools import lru_cache

import numpy as np
from jaxtyping import Float32, UInt

from phenomae.images.fields import Place
from phenomae.images.pixels.open_image import open_place


def divide(pixels: UInt[np.ndarray, "h w"], function: Place) -> UInt[np.ndarray, "h w"]:
    """Divide an image by the function that lies at a place, as CellProfiler applies it.

    Rounded, and clipped to what the image's type can hold. Raises ValueError where the function is
    no array of the image's size, or is not above 0 everywhere.
    """
    light = _read_function(function)
    if light.shape != pixels.shape:
        raise ValueError(
            f"{function} has the shape {light.shape}, but the image it is to even out has "
            f"{pixels.shape}"
        )
    limits = np.iinfo(pixels.dtype)
    return np.rint(pixels / light).clip(0, limits.max).astype(pixels.dtype)


@lru_cache(maxsize=16)  # a plate has one function a channel
def _read_function(place: Place) -> Float32[np.ndarray, "h w"]:
    with open_place(place) as stream:
        try:
            light = np.load(io.BytesIO(stream.read()), allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise ValueError(f"{place} is not a .npy that can be read: {error}") from None
    if light.ndim != 2 or light.dtype.kind != "f" or not (light > 0).all():
        raise ValueError(f"{place} must be an array of height and width, above 0 everywhere")
    return light.astype(np.float32)
