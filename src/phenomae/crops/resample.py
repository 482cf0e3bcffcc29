"""Brings crops of one scale to another without aliasing."""

import numpy as np
import torch
from jaxtyping import UInt
from torch.nn.functional import interpolate


def resample(pixels: UInt[np.ndarray, "b c h w"], size: int) -> UInt[np.ndarray, "b c s s"]:
    """Bring square crops to `size` pixels a side; those that have it already are left alone.

    A triangle as wide as the new pixels' distance weighs the old ones, so that what is finer than
    the new pixels is averaged and not aliased (torch's `bilinear` with `antialias`, which is also
    PIL's). Its weights are positive: nothing overshoots around bright spots, and the result fits
    into the type of the pixels, to which it is rounded.
    """
    if pixels.shape[-1] == size:
        return pixels
    done = np.empty((*pixels.shape[:2], size, size), dtype=pixels.dtype)
    # One by one: a step's crops as floats would take gigabytes.
    for crop, finished in zip(pixels, done, strict=True):
        floats = torch.from_numpy(crop.astype(np.float32))[None]
        found = interpolate(floats, size=(size, size), mode="bilinear", antialias=True)[0]
        finished[:] = found.round_().numpy()
    return done
