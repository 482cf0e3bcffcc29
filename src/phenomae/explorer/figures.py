"""Figures of the page as SVG files, to be saved: drawn by matplotlib in the style of the report."""

import io
import textwrap
import threading
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import numpy as np
import panel as pn

from phenomae.explorer.doses import doses_of_row, median_by_dose
from phenomae.explorer.inputs import Inputs
from phenomae.explorer.pictures import PictureHandler
from phenomae.explorer.plate_values import explain_wells, list_axes, list_wells, title_values
from phenomae.reporting.words import shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The style of matplotlib is set for all threads, so one figure is drawn at a time.
_LOCK = threading.Lock()
_WORDS = ("row", "plate", "value")  # of an address
_PLATE_INCHES = 9.6  # 920 pixels of a screen


class FigureHandler(PictureHandler):
    """Answers `figures/NAME.svg` with the parameters of the page's address."""

    inputs: Inputs
    kind = "image/svg+xml"

    async def get(self, name: str) -> None:
        """Write the figure, or a sentence that says why there is none."""
        draw = _FIGURES[name]
        words = {key: self.get_query_argument(key, "") for key in _WORDS}
        await self.answer(lambda: _encode(draw, self.inputs, words))


def link_to_svg(name: str, **words: str) -> str:
    """Return the HTML of a link that saves a figure."""
    query = escape(urlencode(words))
    return f'<a href="figures/{name}.svg?{query}" download="{name}.svg">Save as SVG</a>'


def svg_link(name: str) -> pn.pane.HTML:
    """Return a place for a link to a figure."""
    style = "a { color: var(--mark); font-size: .85rem; }"
    return pn.pane.HTML(link_to_svg(name), stylesheets=[style], margin=0)


def _encode(draw: Callable, inputs: Inputs, words: dict[str, str]) -> bytes:
    from phenomae.reporting.figures.style import house_style

    buffer = io.BytesIO()
    with _LOCK, house_style():
        figure = draw(inputs, words)
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def _draw_layout(inputs: Inputs, words: dict[str, str]) -> "Figure":
    from phenomae.reporting.figures.layout import Panel, draw_layout

    found = inputs.search.look_up(words["row"])
    panels = [Panel(inputs.layout.description, [None] * len(inputs.names))]
    if inputs.clusters is not None:
        labels = [str(cluster) for cluster in inputs.clusters]
        panels.append(Panel("clusters", labels, on_points=True))
    figure = draw_layout(inputs.layout.points, inputs.names, panels).figure
    if found is not None:
        _name_points(figure.axes[0], inputs, found.row)
    return figure


def _name_points(axes: "Axes", inputs: Inputs, row: int) -> None:
    """Draw a row and its ten nearest larger than the others, and write their names."""
    near = inputs.neighbors(row)[0][0][0][:10].tolist()
    points = inputs.layout.points
    axes.scatter(points[near, 0], points[near, 1], 36, color="#e69f00", edgecolor="white", zorder=3)
    axes.scatter(
        points[[row], 0], points[[row], 1], 72, color="#d55e00", edgecolor="white", zorder=4
    )
    place = {"xytext": (6, 4), "textcoords": "offset points", "zorder": 5}
    axes.annotate(shorten(inputs.names[row], 16), points[row].tolist(), fontsize=8, **place)
    # Below the picture, because names beside points that are alike would lie on each other.
    names = ", ".join(shorten(inputs.names[each], 16) for each in near)
    words = textwrap.wrap(f"Nearest to {inputs.names[row]}: {names}", 64 * len(axes.figure.axes))
    axes.figure.supxlabel("\n".join(words), fontsize=8)


def _draw_plate(inputs: Inputs, words: dict[str, str]) -> "Figure":
    """Draw the wells of a plate as the page does: in its colors, from the lowest to the highest."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    row, plate, value = (words[name] for name in _WORDS)
    if inputs.on_map.plates is None or plate not in inputs.on_map.plates.plates:
        raise ValueError(f"there is no plate {plate!r} to draw")
    titles = title_values(inputs.on_map.plates)
    value = value if value in titles else list(titles)[-1]
    wells = list_wells(inputs, row, plate, value)
    columns, rows = list_axes(wells["column"], wells["row"])
    figure = Figure(figsize=(_PLATE_INCHES, 1 + 0.28 * len(rows)), layout="constrained")
    axes = figure.subplots()
    across = [columns.index(column) for column in wells["column"]]
    down = [rows.index(letters) for letters in wells["row"]]
    grid = np.full((len(rows), len(columns)), np.nan)
    grid[down, across] = wells["value"]
    edges = {"edgecolor": "white", "linewidth": 1}
    shown = axes.pcolormesh(np.ma.masked_invalid(grid), cmap="viridis", **edges)
    for x, y, dot, outline in zip(across, down, wells["dot"], wells["outline"], strict=True):
        if dot:
            axes.plot(x + 0.5, y + 0.5, "o", color="white", mec="black", mew=0.8, ms=7)
        if outline is not None:
            place = {"xy": (x, y), "width": 1, "height": 1}
            axes.add_patch(Rectangle(**place, fill=False, edgecolor=outline, linewidth=3))
    axes.set_xticks(np.arange(len(columns)) + 0.5, columns, fontsize=11)
    axes.set_yticks(np.arange(len(rows)) + 0.5, rows, fontsize=11)
    axes.tick_params(length=0)
    axes.set_title(f"{plate}: {titles[value]}", fontsize=13)
    figure.colorbar(shown, ax=axes, aspect=30, pad=0.01).ax.tick_params(labelsize=11)
    figure.supxlabel(explain_wells(inputs, row, plate), fontsize=11)
    return figure


def _draw_doses(inputs: Inputs, words: dict[str, str]) -> "Figure":
    from matplotlib.figure import Figure

    compounds, wells = doses_of_row(inputs, words["row"])
    if wells.is_empty():
        raise ValueError(f"there are no doses of {words['row']!r} to draw")
    figure = Figure(figsize=(5, 3.2), layout="constrained")
    axes = figure.subplots()
    medians = median_by_dose(wells)
    axes.plot(medians["concentration_um"], medians["distance"], zorder=1)
    axes.scatter(wells["concentration_um"], wells["distance"], 14, color="#555f6e", zorder=2)
    axes.set(xscale="log", xlabel="concentration (uM)", ylabel="distance to the controls")
    axes.set_title(compounds[0])
    return figure


_FIGURES = {"layout": _draw_layout, "plate": _draw_plate, "doses": _draw_doses}
NAMES = tuple(_FIGURES)
