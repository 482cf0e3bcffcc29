"""Pictures of fields: every channel through its intensity window, in its color, added up."""

import json
import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float32, UInt, UInt8

from phenomae.store.colors import choose_colors
from phenomae.store.files import read_file
from phenomae.store.read import Store
from phenomae.urls import below

_COLOR = re.compile(r"[0-9A-Fa-f]{6}")


def store_colors(store: Store) -> Float32[np.ndarray, "c 3"]:
    """Return the display color of each channel, as red, green and blue from 0 to 1."""
    return to_rgb(read_colors(store))


def read_colors(store: Store, field: int = 0) -> list[str]:
    """Return the display color of each channel, as RRGGBB.

    They are those of the metadata of a field, else of the stains: a store in place has no metadata
    of its own.
    """
    usual = choose_colors(store.channels)
    if store.references is not None or store.fields.is_empty():
        return usual
    try:
        content = read_file(below(store.path, f"{store.fields['path'][field]}/zarr.json"))
        shown = json.loads(content)["attributes"]["ome"]["omero"]["channels"]
        colors = [str(channel["color"]) for channel in shown]
    except (OSError, ValueError, KeyError, TypeError):
        return usual
    are_colors = len(colors) == len(usual) and all(map(_COLOR.fullmatch, colors))
    return colors if are_colors else usual


def to_rgb(colors: Sequence[str]) -> Float32[np.ndarray, "c 3"]:
    """Return colors written as RRGGBB as red, green and blue from 0 to 1."""
    rows = [list(bytes.fromhex(color)) for color in colors]
    return np.array(rows, dtype=np.float32).reshape(-1, 3) / np.float32(255)


def compose(
    pixels: UInt[np.ndarray, "c h w"],
    windows: Float[np.ndarray, "c 2"],
    colors: Float[np.ndarray, "c 3"],
) -> UInt8[np.ndarray, "h w 3"]:
    """Return the picture of some channels: 255 times the sum of level x color, clipped to 0-255.

    The level of a pixel is (value - low) / (high - low) of its channel's window, clipped to 0-1.
    This is the additive blending of image viewers.
    """
    # Each of the 256 or 65,536 values is converted once and looked up for every pixel, as in
    # `windows.to_bytes`: .57 of the time of arithmetic on pixels (docs/log.md, 2026-12-01).
    values = np.arange(np.iinfo(pixels.dtype).max + 1, dtype=np.float32)
    light = np.zeros((3, *pixels.shape[1:]), dtype=np.float32)
    for channel, (low, high), color in zip(pixels, windows, colors, strict=True):
        width = max(float(high) - float(low), 1e-6)
        levels = ((values - np.float32(low)) / np.float32(width)).clip(0, 1) * np.float32(255)
        for part, strength in enumerate(color.tolist()):
            if strength:
                light[part] += (levels * np.float32(strength))[channel]
    picture = np.empty((*pixels.shape[1:], 3), dtype=np.uint8)
    np.rint(np.minimum(light, 255, out=light), out=light)
    picture[:] = np.moveaxis(light, 0, -1)
    return picture
