"""The layout of the map: a point for each row, the searched one and its neighbors marked."""

from typing import Any

import panel as pn
from bokeh.models import ColumnDataSource, HoverTool, LabelSet, TapTool
from bokeh.palettes import Category20_20

from phenomae.explorer.figures import link_to_svg, svg_link
from phenomae.explorer.inputs import Inputs
from phenomae.explorer.plots import make_plot
from phenomae.explorer.view import Session, note

_MARK_NOTHING: dict[str, Any] = {
    name: [] for name in ("x", "y", "name", "color", "size", "align", "shift")
}
_GREY = "#9aa5b4"
_WHEEL = (*Category20_20[::2], *Category20_20[1::2])  # ten dark colors, then ten pale ones


def build_layout(session: Session) -> pn.viewable.Viewable:
    """Return the plot; a click on a point searches for it."""
    inputs, state = session.inputs, session.state
    points = inputs.layout.points
    every = ColumnDataSource(_columns_of_points(inputs))
    marked = ColumnDataSource(_MARK_NOTHING)
    plot = make_plot(
        height=480,
        tools="pan,wheel_zoom,reset",
        active_scroll="wheel_zoom",
        active_drag="pan",
    )
    plot.axis.visible = False
    plot.grid.visible = False
    color = _GREY if inputs.clusters is None else "color"
    dots = plot.scatter(
        "x", "y", source=every, size=4, color=color, line_color=None, nonselection_alpha=1.0
    )
    plot.scatter("x", "y", source=marked, size="size", color="color", line_color="white")
    plot.add_layout(
        LabelSet(
            x="x",
            y="y",
            text="name",
            source=marked,
            text_align="align",
            x_offset="shift",
            y_offset=2,
            text_font_size="12px",
        )
    )
    tip = "@name" if inputs.clusters is None else "@name, cluster @cluster"
    plot.add_tools(HoverTool(renderers=[dots], tooltips=[("", tip)]), TapTool(renderers=[dots]))

    link = svg_link("layout")

    def mark(*_: object) -> None:
        link.object = link_to_svg("layout", row=session.row)
        found = inputs.search.look_up(state.row)
        if found is None:
            marked.data = _MARK_NOTHING
            return
        near = inputs.neighbors(found.row)[0][0]
        rows = [*near[0][:10].tolist(), found.row]
        # On the side with more space, because the plot ends beside the outermost points.
        is_right = points[found.row, 0] > (points[:, 0].min() + points[:, 0].max()) / 2
        marked.data = {
            "x": points[rows, 0].tolist(),
            "y": points[rows, 1].tolist(),
            # Of the searched name only: those of its neighbors would lie on each other.
            "name": [""] * (len(rows) - 1) + [inputs.names[found.row]],
            "color": ["#e69f00"] * (len(rows) - 1) + ["#d55e00"],
            "size": [8] * (len(rows) - 1) + [12],
            "align": ["right" if is_right else "left"] * len(rows),
            "shift": [-8 if is_right else 8] * len(rows),
        }

    def choose(attribute: str, old: list[int], new: list[int]) -> None:
        if new:
            state.row = inputs.names[new[0]]
            every.selected.indices = []

    every.selected.on_change("indices", choose)
    state.param.watch(mark, "row")
    mark()
    return pn.Column(
        pn.pane.Bokeh(plot, sizing_mode="stretch_width"),
        note(_describe(inputs)),
        link,
        sizing_mode="stretch_width",
    )


def _columns_of_points(inputs: Inputs) -> dict[str, Any]:
    points = inputs.layout.points
    columns = {"x": points[:, 0], "y": points[:, 1], "name": inputs.names}
    if inputs.clusters is None:
        return columns
    colors = [_WHEEL[cluster % len(_WHEEL)] for cluster in inputs.clusters]
    return {**columns, "cluster": inputs.clusters, "color": colors}


def _describe(inputs: Inputs) -> str:
    colored = ""
    if inputs.clusters is not None:
        colored = f" Colored by cluster, of {len(set(inputs.clusters))}."
    return f"{inputs.layout.description}.{colored} Large points: the ten nearest in all features."
