"""Draws the input, masked input and reconstruction of a few crops, per channel."""

import io
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32
from matplotlib.figure import Figure

from phenomae.artefacts import write_bytes

_HIDDEN = "#31405c"
_SIDE_INCHES = 1.35


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
    # Figure, not pyplot: pyplot keeps global state and may look for a display.
    figure = Figure(
        figsize=(_SIDE_INCHES * columns + 0.4, _SIDE_INCHES * 1.04 * rows + 0.3),
        dpi=110,
        layout="compressed",
    )
    axes = figure.subplots(rows, columns, squeeze=False)
    for row, column in np.ndindex(len(images), columns):
        image = images[row, column]
        # The input's range for all three rows: a reconstruction that is too dim should look dim.
        low, high = np.percentile(image, [0.5, 99.5])
        masked = np.ma.masked_array(image, hidden[row, column])
        shown = (image, masked, rebuilt[row, column])
        for ax, pixels in zip(axes[3 * row : 3 * row + 3, column], shown, strict=True):
            ax.imshow(pixels, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
            ax.set_facecolor(_HIDDEN)
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
    for ax, channel in zip(axes[0], channels, strict=True):
        ax.set_title(channel, fontsize=9)
    for index, ax in enumerate(axes[:, 0]):
        ax.set_ylabel(("input", "masked", "rebuilt")[index % 3], fontsize=9)
    figure.get_layout_engine().set(w_pad=0.015, h_pad=0.015, wspace=0, hspace=0)  # pyright: ignore
    return figure
