"""Converts arrays of raw intensities to the input of networks: uint8, or float32 from 0 to 1.

`Network.embed` uses this module. Training does not: its crops come from a store, which records the
window (intensities that become 0 and 1) of every plate and channel.
"""

import warnings
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float32, Float64, Shaped
from torch import Tensor

from phenomae.checks import require

Window = Literal["auto"] | Sequence[Any] | np.ndarray
"""One (low, high) for all channels, one (low, high) per channel, or `auto`."""
Array = np.ndarray | Tensor

AUTO_PERCENTILES = (0.1, 99.9)  # the defaults of `phenomae ingest`


def choose_window(
    pixels: Shaped[Array, "b c h w"], window: Window | None
) -> Float32[Tensor, "c 2"] | None:
    """Return the intensities that become 0 and 1 in each channel; None if `window` is None.

    `auto` uses the percentiles `AUTO_PERCENTILES` of each channel over all crops, and issues a
    warning with the window, because other crops would get another window. Raises ValueError if
    `window` is neither `auto` nor one or `c` pairs (low, high) with low below high.
    """
    if window is None:
        return None
    if isinstance(window, str):
        require(window == "auto", "window", "(low, high), a pair per channel or 'auto'", window)
        pairs = [_percentile_window(pixels[:, channel]) for channel in range(pixels.shape[1])]
        named = ", ".join(f"({low:g}, {high:g})" for low, high in pairs)
        warnings.warn(
            f"window='auto' used window=[{named}], one (low, high) per channel: pass it with other "
            "crops of the same plate to scale them alike",
            stacklevel=3,  # the caller of `Network.embed`
        )
        return torch.tensor(pairs, dtype=torch.float32)
    return torch.tensor(_read_pairs(window, pixels.shape[1]).copy(), dtype=torch.float32)


def to_pixels(
    crops: Shaped[Array, "b c h w"],
    window: Float32[Tensor, "c 2"] | None,
    device: torch.device,
) -> Shaped[Tensor, "b c h w"]:
    """Return crops on `device` as uint8 or as float32 from 0 to 1.

    With a window, low becomes 0 and high becomes 1, and intensities outside the window are clipped.
    Raises ValueError if there is no window and the crops are neither uint8 nor floats from 0 to 1.
    """
    if isinstance(crops, np.ndarray):
        # Copied in native byte order, the only one that torch accepts. Without a copy torch would
        # also warn of read-only memory maps.
        crops = torch.from_numpy(np.array(crops, crops.dtype.newbyteorder("="), order="C"))
    pixels = crops.detach().to(device)
    if window is not None:
        low, high = window.to(device)[..., None, None].unbind(1)
        return ((pixels.float() - low) / (high - low)).clamp(0, 1)
    if pixels.dtype == torch.uint8:
        return pixels
    rule = "uint8, or floats from 0 to 1, unless window is given"
    kind = str(pixels.dtype).removeprefix("torch.")
    require(pixels.is_floating_point(), "pixels", rule, kind)
    pixels = pixels.float()
    inside = bool(((pixels >= 0) & (pixels <= 1)).all())  # false for NaN
    require(inside, "pixels", rule, f"{kind} from {pixels.min():g} to {pixels.max():g}")
    return pixels


def _percentile_window(channel: Shaped[Array, "b h w"]) -> tuple[float, float]:
    values = channel.detach().cpu().numpy() if isinstance(channel, Tensor) else channel
    # The percentile method of `ingest`: no interpolation between intensities.
    low, high = np.percentile(values, AUTO_PERCENTILES, method="inverted_cdf").tolist()
    # A constant channel would give an empty window, and a division by 0.
    return float(low), float(max(high, low + 1))


def _read_pairs(window: Sequence[Any] | np.ndarray, channels: int) -> Float64[np.ndarray, "c 2"]:
    """Return one (low, high) per channel; raises ValueError unless `window` gives them."""
    even = len({np.size(row) for row in window}) == 1  # numpy raises for rows of unequal length
    table = np.asarray(window, dtype=np.float64) if even else np.empty(0)
    fits = table.shape in ((2,), (channels, 2)) and bool(np.isfinite(table).all())
    rises = fits and bool((table[..., 0] < table[..., 1]).all())
    require(rises, "window", f"(low, high), or {channels} such pairs, low below high", window)
    return np.broadcast_to(table, (channels, 2))
