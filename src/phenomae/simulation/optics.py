"""Optics: point-spread function, defocus over the field, haze, patchy staining, illumination."""

import numpy as np
from jaxtyping import Float32
from scipy import ndimage

from phenomae.simulation.exposure import Exposure

_FAR = (
    1.5  # blur of the second image of a field that is out of focus, beside the first's, in pixels
)


def blur_field(
    light: Float32[np.ndarray, "c h w"], exposure: Exposure, rng: np.random.Generator
) -> Float32[np.ndarray, "c h w"]:
    """Return the image as the objective forms it; `rng` draws the patches of the staining."""
    far = _defocus(exposure, light.shape[1], light.shape[2])
    result = np.empty_like(light)
    for channel, image in enumerate(light):
        if exposure.texture:
            image = image * _patches(image.shape, exposure.texture, rng)
        blurred = ndimage.gaussian_filter(image, exposure.blur, truncate=3)
        if far is not None:
            # Diffusion: for small blurs an image changes linearly with the variance of the blur.
            blurred += far * (ndimage.gaussian_filter(blurred, _FAR, truncate=3) - blurred)
        if exposure.haze:
            blurred += np.float32(exposure.haze) * (halo(image) - blurred)
        result[channel] = blurred
    return result


def _defocus(exposure: Exposure, height: int, width: int) -> Float32[np.ndarray, "h w"] | None:
    """Return the variance of the blur at every pixel, beyond the focused one's, over `_FAR`'s."""
    if not exposure.focus.any():
        return None
    down, right, curvature = exposure.focus.astype(np.float32)
    y, x = _grid(height, width)
    defocus = down * y + right * x + curvature * (y * y + x * x) / 2
    return np.minimum((defocus / np.float32(_FAR)) ** 2, 1)


def _patches(
    shape: tuple[int, ...], strength: float, rng: np.random.Generator
) -> Float32[np.ndarray, "h w"]:
    """Return factors of mean 1 that vary over 12 pixels, computed at a quarter of the size."""
    small = rng.standard_normal((shape[0] // 4, shape[1] // 4), dtype=np.float32)
    small = ndimage.gaussian_filter(small, 3.0, mode="wrap")
    smooth = ndimage.uniform_filter(small.repeat(4, 0).repeat(4, 1), 5)
    # 2 * 3 * sqrt(pi) undoes what the blur takes from the standard deviation of white noise.
    return np.maximum(1 + np.float32(strength * 6 * np.sqrt(np.pi)) * smooth, 0)


def halo(image: Float32[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
    """Return the image blurred by about 12 pixels, computed at a quarter of the size for speed."""
    small = ndimage.gaussian_filter(image[::4, ::4], 3.0)
    return ndimage.uniform_filter(small.repeat(4, 0).repeat(4, 1), 5)


def illuminate(tilt: np.ndarray, height: int, width: int) -> Float32[np.ndarray, "h w"]:
    """Return the lamp's light at every pixel, relative to the field's centre."""
    down, right, curvature, shift = tilt.astype(np.float32)
    y, x = _grid(height, width)
    dome = curvature * ((y - shift) ** 2 + (x + shift) ** 2)
    # Even with strong nuisance, every pixel keeps at least a fifth of the light.
    return np.clip(1 + down * y + right * x - dome, 0.2, None)


def _grid(height: int, width: int) -> tuple[Float32[np.ndarray, "h 1"], Float32[np.ndarray, "1 w"]]:
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    return y, np.linspace(-1, 1, width, dtype=np.float32)[None, :]
