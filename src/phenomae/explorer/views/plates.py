"""A plate by row and column: cell number, focus, and distance to the controls."""

from typing import Any

import numpy as np
import panel as pn
import polars as pl
from bokeh.core.properties import field
from bokeh.models import ColorBar, ColumnDataSource, HoverTool, LinearColorMapper, TapTool, Title
from bokeh.palettes import Viridis256
from bokeh.plotting import figure

from phenomae.explorer.figures import link_to_svg, svg_link
from phenomae.explorer.inputs import NO_WELLS, Inputs
from phenomae.explorer.plots import make_plot
from phenomae.explorer.table import Table
from phenomae.explorer.view import WIDGETS, Session, View, note, paragraph
from phenomae.reporting.evidence.plate_views import PlateViews


def _build(session: Session) -> pn.viewable.Viewable:
    plates, state = session.inputs.on_map.plates, session.state
    assert plates is not None
    names, values = plates.plates, _titles(plates)

    def chosen() -> tuple[str, str]:
        """Return plate and value of the address, or the first ones: they are not written to it."""
        own = [name for name in names if name in _plates_of(session)]
        plate = state.plate if state.plate in names else [*own, *names][0]
        return plate, state.value if state.value in values else list(values)[-1]

    plate, value = chosen()
    choose_plate = _select("Plate", {name: name for name in names}, plate)
    choose_value = _select("Value", {title: name for name, title in values.items()}, value)
    source = ColumnDataSource(_columns(session, plate, value))
    plot, title = _plot(session, source), Title()
    plot.title = title  # another title in its place would not be drawn
    link, where = svg_link("plate"), note("")
    summary = Table(sizing_mode="stretch_width", label="Medians of all plates", file="plates.csv")
    summary.fill(plates.summary().select("plate", "wells", "controls", *values))

    def update(*_: object) -> None:
        choose_plate.value, choose_value.value = plate, value = chosen()
        link.object = link_to_svg("plate", plate=plate)
        source.data = _columns(session, plate, value)
        columns, rows = _ranges(source)
        title.text = f"{plate}: {values[value]}"
        where.object = paragraph(_explain(session, plate))
        plot.x_range.update(factors=columns)
        plot.y_range.update(factors=rows)

    choose_plate.param.watch(lambda event: state.param.update(plate=event.new), "value")
    choose_value.param.watch(lambda event: state.param.update(value=event.new), "value")
    state.param.watch(update, ["row", "plate", "value"])
    update()
    return pn.Column(
        where,
        pn.Row(choose_plate, choose_value, sizing_mode="stretch_width"),
        pn.pane.Bokeh(plot, sizing_mode="stretch_width"),
        link,
        summary,
        sizing_mode="stretch_width",
    )


def _plates_of(session: Session) -> list[str]:
    """Return the plates with wells of the searched name."""
    wells = session.inputs.wells
    assert wells is not None
    return wells.filter(pl.col("name") == session.row)["plate"].unique().sort().to_list()


def _explain(session: Session, plate: str) -> str:
    row, own = session.row, _plates_of(session)
    if not row:
        return "Circles are controls. Search for a name: its wells are outlined."
    if plate in own:
        return f"Circles are controls; the wells of {row} are outlined."
    return f"Circles are controls. {plate} has no well of {row}: its plates are {', '.join(own)}."


def _select(name: str, options: dict[str, str], value: str) -> pn.widgets.Select:
    return pn.widgets.Select(
        label=name,
        options=options,
        value=value,
        stylesheets=[WIDGETS],
        sizing_mode="stretch_width",
    )


def _titles(plates: PlateViews) -> dict[str, str]:
    titles = {
        "foreground": f"cell number, by the share of {plates.counted}",
        "focus": "focus, relative to the plate's fields",
        "distance": "distance to the plate's controls (1: a typical control)",
    }
    # Profiles of other software have no focus; without two controls there is no distance.
    return {name: titles[name] for name in plates.measured} or titles


def _columns(session: Session, plate: str, value: str) -> dict[str, Any]:
    """Return the wells of a plate as the columns of the plot."""
    plates, wells = session.inputs.on_map.plates, session.inputs.wells
    assert plates is not None
    assert wells is not None
    part = plates.wells.filter(pl.col("plate") == plate)
    names = wells.filter(pl.col("plate") == plate).select("well", "name")
    part = part.join(names, on="well", how="left", maintain_order="left")
    row = session.row
    outlines = ["#d55e00" if row and name == row else None for name in part["name"]]
    return {
        "row": [well.rstrip("0123456789") for well in part["well"]],
        "column": [str(column + 1) for column in part["column"]],
        # NaN, because null, which is what None becomes, would be drawn as 0.
        "value": part[value].cast(pl.Float64).fill_null(np.nan).to_numpy(),
        "well": part["well"].to_list(),
        "name": part["name"].fill_null("").to_list(),
        "dot": [9 if control else 0 for control in part["control"]],
        "outline": outlines,
    }


def _ranges(source: ColumnDataSource) -> tuple[list[str], list[str]]:
    columns = sorted({int(column) for column in source.data["column"]})
    rows = sorted({str(row) for row in source.data["row"]}, key=lambda row: (len(row), row))[::-1]
    return [str(column) for column in columns], rows


def _plot(session: Session, source: ColumnDataSource) -> figure:
    columns, rows = _ranges(source)
    plot = make_plot(height=340, x_range=columns, y_range=rows, tools="")
    plot.grid.grid_line_color = None
    plot.axis.major_tick_line_color = None
    mapper = LinearColorMapper(palette=list(Viridis256), nan_color="#ffffff")
    colors = field("value", mapper)
    cells = plot.rect(
        "column",
        "row",
        0.95,
        0.95,
        source=source,
        fill_color=colors,
        line_color="outline",
        line_width=3,
        nonselection_alpha=1.0,
    )
    plot.scatter("column", "row", size="dot", source=source, color="white", line_color="black")
    plot.add_layout(ColorBar(color_mapper=mapper, width=10), "right")
    tips = [("well", "@well"), ("name", "@name"), ("value", "@value")]
    plot.add_tools(HoverTool(renderers=[cells], tooltips=tips), TapTool(renderers=[cells]))

    def choose(attribute: str, old: list[int], new: list[int]) -> None:
        names = [str(name) for name in source.data["name"]]
        if new and names[new[0]]:
            session.state.row = names[new[0]]
        source.selected.indices = []

    source.selected.on_change("indices", choose)
    return plot


def _lacks(inputs: Inputs) -> str | None:
    return NO_WELLS if inputs.finder.wells is None else None


VIEW = View("plates", "Plates", _build, _lacks)
