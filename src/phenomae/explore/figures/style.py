"""How figures look and how they become files, the same bytes each time."""

import io
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from matplotlib import style
from matplotlib.figure import Figure

from phenomae.artefacts import whole_file

# Colours of Okabe and Ito, which the colour-blind can tell apart, the darkest first.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#555f6e")
GREY = "#6b7584"
PALE = "#c3cad5"
INK = "#1c2430"

_FONT = "DejaVu Sans"  # comes with matplotlib, so that figures are laid out alike everywhere ...
_FONTS = "system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"
PAGE_INCHES = 6.4  # of a figure as wide as the text; a telephone still shows its letters
_PIXELS_PER_INCH = 96  # of a page
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
    "text.parse_math": False,  # a dollar in a name is a dollar
    "xtick.color": PALE,
    "ytick.color": PALE,
    "xtick.labelcolor": "#3b4554",
    "ytick.labelcolor": "#3b4554",
    "svg.fonttype": "none",
    "svg.hashsalt": "phenomae",  # else the ids in an SVG are drawn by chance
}


@dataclass(frozen=True)
class Drawing:
    """A figure, and what it shows in words."""

    figure: Figure
    alt: str


@dataclass(frozen=True)
class Picture:
    """An image as the page holds it."""

    src: str
    """A data: address, so that the page is one file."""
    alt: str
    width: int
    """In pixels of the page."""
    height: int


@contextmanager
def house_style() -> Iterator[None]:
    """Draw and save figures in one style, whatever a person's own matplotlibrc says."""
    with style.context(["default", _HOUSE]):
        yield


def save(drawing: Drawing, folder: Path, name: str) -> Picture:
    """Write a figure as SVG and PNG into a folder, which it makes; returns the SVG as a picture."""
    folder.mkdir(exist_ok=True)
    figure = drawing.figure
    svg, png = io.BytesIO(), io.BytesIO()
    figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    figure.savefig(png, format="png", dpi=2 * _PIXELS_PER_INCH, metadata={"Software": None})
    # ... and shown in the letters of the page around them.
    drawn = svg.getvalue().replace(f"'{_FONT}'".encode(), _FONTS.encode())
    for suffix, content in (("svg", drawn), ("png", png.getvalue())):
        with whole_file(folder / f"{name}.{suffix}") as partial:
            partial.write_bytes(content)
    width, height = (round(_PIXELS_PER_INCH * inches) for inches in figure.get_size_inches())
    return Picture(_data_address("image/svg+xml", drawn), drawing.alt, width, height)


def copy_png(content: bytes, folder: Path, name: str, alt: str) -> Picture:
    """Write a PNG that is there already; returns it as a picture."""
    with whole_file(folder / f"{name}.png") as partial:
        partial.write_bytes(content)
    # A PNG's first chunk, always at the same place, begins with width and height.
    width, height = (int.from_bytes(content[start : start + 4]) for start in (16, 20))
    return Picture(_data_address("image/png", content), alt, width, height)


def _data_address(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{b64encode(content).decode()}"
