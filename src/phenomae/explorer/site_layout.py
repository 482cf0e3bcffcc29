"""The layout of the map in a static site: a picture of all points, and the points as numbers.

The script of the page marks the searched name and its neighbors above the picture.
"""

import io
from html import escape

import numpy as np
from jaxtyping import Float32, Int

WIDTH = 1000
"""Width and greatest height of the picture in its own units, which are those of the points."""
_MARGIN = 30
_COLOR = "#8b96a6"  # visible on a light and on a dark page


def scale_points(points: Float32[np.ndarray, "g 2"]) -> tuple[Int[np.ndarray, "g 2"], int]:
    """Return the points in whole units of the picture, from its upper left, and its height.

    Both axes have the same scale, and the second points upwards in the map's layout.
    """
    places = np.stack([points[:, 0], -points[:, 1]], axis=1).astype(np.float64)
    places -= places.min(axis=0)
    ends = places.max(axis=0)
    scale = (WIDTH - 2 * _MARGIN) / max(*ends, 1e-9)
    margin = [(WIDTH - scale * ends[0]) / 2, _MARGIN]
    height = 2 * _MARGIN + scale * ends[1]
    return np.rint(scale * places + margin).astype(np.int64), int(np.ceil(height))


def draw_points(places: Int[np.ndarray, "g 2"], height: int, title: str) -> bytes:
    """Return a picture of the points as SVG, without a background."""
    buffer = io.StringIO()
    buffer.write(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}">')
    buffer.write(f"<title>{escape(title)}</title>")
    # One path of strokes without length, whose round ends are the points: an element each would
    # take ten times the bytes.
    strokes = "".join(f"M{x} {y}h0" for x, y in places.tolist())
    size = 9 if len(places) < 3000 else 5
    buffer.write(
        f'<path d="{strokes}" stroke="{_COLOR}" stroke-width="{size}" stroke-linecap="round"/>'
    )
    buffer.write("</svg>\n")
    return buffer.getvalue().encode("ascii", "xmlcharrefreplace")
