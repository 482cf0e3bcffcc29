"""Resamples crops to another pixel size with little aliasing.

When crops were resampled to half the resolution, torch's `bilinear` with `antialias` left 11 % of
the waves above the Nyquist frequency; `bicubic` left 14 % and took about 1.5 times as long; `area`
left 38 % (docs/log.md, 2026-11-25).
"""

import numpy as np
import torch
from jaxtyping import UInt
from torch.nn.functional import interpolate


def resample(pixels: UInt[np.ndarray, "b c h w"], size: int) -> UInt[np.ndarray, "b c s s"]:
    """Resample square crops to `size` pixels per side; crops of that size are returned unchanged.

    The triangle filter is widened with the new pixel size, so that details finer than the new
    pixels are mostly averaged and not aliased (PIL's `BILINEAR` is the same). The filter has no
    negative weights, so resampled values stay in the range of the original values; they are
    rounded to the dtype of `pixels`.
    """
    if pixels.shape[-1] == size:
        return pixels
    resampled = np.empty((*pixels.shape[:2], size, size), dtype=pixels.dtype)
    # One crop at a time, because all crops of a step together could take gigabytes as float32.
    for crop, result in zip(pixels, resampled, strict=True):
        floats = torch.from_numpy(crop.astype(np.float32))[None]
        smooth = interpolate(floats, size=(size, size), mode="bilinear", antialias=True)[0]
        result[:] = smooth.round_().numpy()
    return resampled
