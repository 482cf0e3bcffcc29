"""The dose series of a compound: distance to the controls over concentration."""

from typing import Any

import numpy as np
import panel as pn
import polars as pl
from bokeh.models import ColumnDataSource, HoverTool

from phenomae.explorer.doses import doses_of_row, median_by_dose
from phenomae.explorer.figures import link_to_svg, svg_link
from phenomae.explorer.inputs import NO_WELLS, Inputs
from phenomae.explorer.plots import make_plot
from phenomae.explorer.table import Table
from phenomae.explorer.view import Session, View, note, paragraph


def _build(session: Session) -> pn.viewable.Viewable:
    state, inputs = session.state, session.inputs
    hint = note("")
    _, empty = doses_of_row(inputs, "")
    points, line = ColumnDataSource(_columns(empty)), ColumnDataSource(_columns(empty))
    plot = make_plot(height=340, x_axis_type="log", tools="")
    plot.xaxis.axis_label = "concentration (uM)"
    plot.yaxis.axis_label = "distance to the controls (1: a typical control)"
    plot.line("concentration_um", "distance", source=line, color="#0072b2", line_width=2)
    dots = plot.scatter("concentration_um", "distance", source=points, size=7, color="#555f6e")
    tips = [("plate", "@plate"), ("well", "@well")]
    plot.add_tools(HoverTool(renderers=[dots], tooltips=tips))
    shown = pn.pane.Bokeh(plot, sizing_mode="stretch_width")
    link = svg_link("doses")
    table = Table(sizing_mode="stretch_width", file="doses.csv")

    def update(*_: object) -> None:
        compounds, wells = doses_of_row(inputs, session.row)
        link.object = link_to_svg("doses", row=session.row)
        shown.visible = table.visible = link.visible = not wells.is_empty()
        hint.object = _explain(session.row, compounds, wells.is_empty())
        if wells.is_empty():
            return
        medians = median_by_dose(wells)
        points.data = _columns(wells)
        line.data = _columns(medians.drop_nulls("distance"))
        table.label = f"Doses of {compounds[0]}: median over wells"
        table.fill(medians, concentration_um="concentration (uM)")

    state.param.watch(update, "row")
    update()
    return pn.Column(hint, shown, link, table, sizing_mode="stretch_width")


def _columns(table: pl.DataFrame) -> dict[str, Any]:
    """Return a table as columns of a plot; a distance that is not known is NaN, and not drawn."""
    known = table.with_columns(pl.col("distance").fill_null(np.nan))
    return {name: known[name].to_numpy() for name in known.columns}


def _explain(row: str, compounds: list[str], is_empty: bool) -> str:
    if not row:
        text = "Search for a compound: its doses are shown here."
    elif not compounds:
        text = f"The wells of {row} have no compound, and so no doses."
    elif is_empty:
        text = f"The wells of {compounds[0]} have no concentration above 0."
    else:
        text = f"Each point is a well of {compounds[0]}; the line is the median of a concentration."
    if len(compounds) > 1:
        text += f" The wells of {row} have {len(compounds)} compounds: {', '.join(compounds)}."
    return paragraph(text)


def _lacks(inputs: Inputs) -> str | None:
    return NO_WELLS if inputs.finder.wells is None else None


VIEW = View("doses", "Doses", _build, _lacks)
