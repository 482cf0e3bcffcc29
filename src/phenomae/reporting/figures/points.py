"""Draws many points in few bytes: each by itself if they are few, else all as one image."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

SHARPNESS = 192
"""Dots per inch of the image, which figures with such points take as their own."""
_MAX_SHAPES = 500  # points that are drawn as shapes, of which each takes about 100 bytes


def draw_points(
    ax: Axes,
    points: Float[np.ndarray, "n 2"],
    colours: Sequence[tuple[float, ...] | str],
    area: float,
) -> None:
    """Draw points with a color each; `area` is in square points."""
    many = len(points) > _MAX_SHAPES
    # Smooth edges would have hundreds of colors, and an image of 5,000 points three times the
    # bytes. The image has twice the pixels of a usual screen, which smooths the edges again.
    x, y = points.T
    ax.scatter(x, y, area, color=colours, lw=0, antialiased=not many, rasterized=many)
