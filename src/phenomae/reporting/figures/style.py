"""Style of all figures, and functions that save a figure: the same input gives the same bytes.

Figures contain no date, the ids in an SVG are hashed with a fixed salt, and the matplotlibrc of the
user has no effect.
"""

import io
import re
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from phenomae.whole_files import whole_file

# Palette after Okabe and Ito, whose colours are distinguishable with colour blindness.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#555f6e")
GREY = "#6b7584"
PALE = "#c3cad5"
INK = "#1c2430"

# Layouts are computed with a font that comes with matplotlib, so that they are the same on every
# machine; the saved SVG then names the fonts of the report page instead.
_FONT = "DejaVu Sans"
_FONTS = "system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"
PAGE_INCHES = 6.4  # width of a figure that spans the text; still readable on a phone
_PIXELS_PER_INCH = 96  # as defined by CSS
_JPEG_QUALITY = 80
# Paths have six decimals of a point, of which two are more than a screen shows.
_PATH = re.compile(rb'<path d="[^"]*"')
_LONG_FRACTION = re.compile(rb"(\.\d\d)\d+")
_HOUSE = {
    "font.family": _FONT,
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": PALE,
    "axes.labelcolor": INK,
    "axes.axisbelow": True,
    "grid.color": "#e8ebf0",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "lines.solid_capstyle": "round",
    "text.color": INK,
    "text.parse_math": False,  # names may contain dollar signs
    "xtick.color": PALE,
    "ytick.color": PALE,
    "xtick.labelcolor": "#3b4554",
    "ytick.labelcolor": "#3b4554",
    "svg.fonttype": "none",
    "svg.hashsalt": "phenomae",  # otherwise the ids in an SVG are random
}


def legend_above(figure: Figure, ax: Axes, columns: int = 4, **look: float) -> None:
    """Draw the legend of the entries of `ax` above the panels, to be read row by row."""
    handles, labels = ax.get_legend_handles_labels()
    # matplotlib fills a legend column by column.
    by_row = [number for first in range(columns) for number in range(len(labels))[first::columns]]
    handles, labels = [handles[k] for k in by_row], [labels[k] for k in by_row]
    figure.legend(handles, labels, loc="outside upper left", ncols=columns, **look)


@dataclass(frozen=True)
class Drawing:
    """A matplotlib figure and its alternative text for screen readers."""

    figure: Figure
    alt: str


@dataclass(frozen=True)
class Picture:
    """An image that is embedded in the page of a report."""

    src: str
    """The image as a data: URL, so that the page is one file."""
    alt: str
    width: int
    """Width in CSS pixels."""
    height: int
    files: tuple[str, ...]
    """Names of the image files in the folder of the figures."""


@contextmanager
def house_style() -> Iterator[None]:
    """Apply the style of all figures within a with block, whatever the user's matplotlibrc sets."""
    with style.context(["default", _HOUSE]):
        yield


def save(drawing: Drawing, folder: Path, name: str) -> Picture:
    """Write a figure as SVG and PNG into a folder, which is created if needed; return the SVG."""
    folder.mkdir(exist_ok=True)
    figure = drawing.figure
    svg, png = io.BytesIO(), io.BytesIO()
    figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    figure.savefig(png, format="png", dpi=2 * _PIXELS_PER_INCH, metadata={"Software": None})
    drawn = svg.getvalue().replace(f"'{_FONT}'".encode(), _FONTS.encode())
    drawn = _PATH.sub(lambda path: _LONG_FRACTION.sub(rb"\1", path[0]), drawn)
    for suffix, content in (("svg", drawn), ("png", png.getvalue())):
        with whole_file(folder / f"{name}.{suffix}") as partial:
            partial.write_bytes(content)
    width, height = (round(_PIXELS_PER_INCH * inches) for inches in figure.get_size_inches())
    files = (f"{name}.svg", f"{name}.png")
    return Picture(_data_url("image/svg+xml", drawn), drawing.alt, width, height, files)


def copy_png(content: bytes, folder: Path, name: str, alt: str) -> Picture:
    """Write the bytes of a PNG file into a folder, and return the image as a `Picture`."""
    with whole_file(folder / f"{name}.png") as partial:
        partial.write_bytes(content)
    # The first chunk of every PNG (IHDR) has width and height at these byte offsets.
    width, height = (int.from_bytes(content[start : start + 4]) for start in (16, 20))
    return Picture(_data_url("image/png", content), alt, width, height, (f"{name}.png",))


def save_photograph(
    pixels: UInt8[np.ndarray, "h w 3"], folder: Path, name: str, alt: str
) -> Picture:
    """Write pixels as JPEG into a folder, and return the image as a `Picture`."""
    from PIL import Image

    buffer = io.BytesIO()
    # An eighth of the bytes of PNG, which does not compress noise (160 x 160 of simulated cells).
    Image.fromarray(pixels).save(buffer, "JPEG", quality=_JPEG_QUALITY)
    content = buffer.getvalue()
    with whole_file(folder / f"{name}.jpg") as partial:
        partial.write_bytes(content)
    height, width = pixels.shape[:2]
    return Picture(_data_url("image/jpeg", content), alt, width, height, (f"{name}.jpg",))


def _data_url(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{b64encode(content).decode()}"
