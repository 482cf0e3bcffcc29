"""Draws the input, masked input and reconstruction of a few crops, per channel."""

import io
from pathlib import Path

import numpy as np
from einops import rearrange
from jaxtyping import Bool, Float32, UInt8
from matplotlib.figure import Figure

from phenomae.artefacts import write_bytes

_HIDDEN = (49, 64, 92)
_SIDE_INCHES = 1.35
_LEFT_INCHES, _TOP_INCHES = 0.25, 0.25  # of the labels
_GAP = 0.025  # white line between tiles, as a fraction of their width


def draw_reconstructions(
    path: Path,
    images: Float32[np.ndarray, "b c h w"],
    rebuilt: Float32[np.ndarray, "b c h w"],
    hidden: Bool[np.ndarray, "b c h w"],
    channels: tuple[str, ...],
) -> None:
    """Write a PNG with the rows input, masked and rebuilt for every crop, one column per channel.

    Every channel is scaled from its 0.5th to its 99.5th percentile in the input.
    """
    figure = _draw(images, rebuilt, hidden, channels)
    buffer = io.BytesIO()
    # The Software field holds the version of matplotlib, which would make the bytes differ.
    figure.savefig(buffer, format="png", metadata={"Software": None})
    write_bytes(path, buffer.getvalue())


def _draw(
    images: Float32[np.ndarray, "b c h w"],
    rebuilt: Float32[np.ndarray, "b c h w"],
    hidden: Bool[np.ndarray, "b c h w"],
    channels: tuple[str, ...],
) -> Figure:
    rows, columns = 3 * len(images), len(channels)
    width, height = _SIDE_INCHES * columns + _LEFT_INCHES, _SIDE_INCHES * rows + _TOP_INCHES
    # Figure, not pyplot: pyplot keeps global state and may look for a display.
    figure = Figure(figsize=(width, height), dpi=110)
    # One image on one Axes: with an Axes per tile, drawing took longer than a short training.
    ax = figure.add_axes(
        (_LEFT_INCHES / width, 0, 1 - _LEFT_INCHES / width, 1 - _TOP_INCHES / height)
    )
    tiles = _tile(images, rebuilt, hidden)
    ax.imshow(tiles, interpolation="nearest", aspect="auto", extent=(0, columns, rows, 0))
    ax.set_xticks(np.arange(columns) + 0.5, channels)
    labels = ["input", "masked", "rebuilt"] * len(images)
    ax.set_yticks(np.arange(rows) + 0.5, labels, rotation="vertical", va="center")
    ax.tick_params(length=0, labelsize=9, labeltop=True, labelbottom=False)
    ax.spines[:].set_visible(False)
    return figure


def _tile(
    images: Float32[np.ndarray, "b c h w"],
    rebuilt: Float32[np.ndarray, "b c h w"],
    hidden: Bool[np.ndarray, "b c h w"],
) -> UInt8[np.ndarray, "y x 3"]:
    """Return all tiles as one RGB image, with white lines between them."""
    # The input's range for all three rows: a reconstruction that is too dim should look dim.
    low, high = np.percentile(images, [0.5, 99.5], axis=(2, 3), keepdims=True).astype(np.float32)
    scale = np.maximum(high - low, np.finfo(np.float32).tiny)
    grey, rebuilt_grey = (
        (255 * np.clip((pixels - low) / scale, 0, 1)).round().astype(np.uint8)
        for pixels in (images, rebuilt)
    )
    shown = np.stack([grey, grey, rebuilt_grey], axis=1)[..., None].repeat(3, axis=-1)
    shown[:, 1][hidden] = _HIDDEN
    gap = max(1, round(_GAP * images.shape[-1]))
    around = [(0, 0)] * 3 + [(0, gap)] * 2 + [(0, 0)]
    framed = np.pad(shown, around, constant_values=255)
    return rearrange(framed, "b row c h w rgb -> (b row h) (c w) rgb")
