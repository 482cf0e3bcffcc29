"""A plate by row and column: cell number, focus, and distance to the controls."""

import panel as pn
from bokeh.core.properties import field
from bokeh.models import ColorBar, ColumnDataSource, HoverTool, LinearColorMapper, TapTool, Title
from bokeh.palettes import Viridis256
from bokeh.plotting import figure

from phenomae.explorer.figures import link_to_svg, svg_link
from phenomae.explorer.inputs import NO_WELLS, Inputs
from phenomae.explorer.plate_values import (
    explain_wells,
    list_axes,
    list_wells,
    plates_of,
    title_values,
)
from phenomae.explorer.plots import make_plot
from phenomae.explorer.table import Table
from phenomae.explorer.view import WIDGETS, Session, View, note, paragraph


def _build(session: Session) -> pn.viewable.Viewable:
    plates, state = session.inputs.on_map.plates, session.state
    assert plates is not None
    names, values = plates.plates, title_values(plates)

    def chosen() -> tuple[str, str]:
        """Return plate and value of the address, or the first ones: they are not written to it."""
        own = [name for name in names if name in plates_of(session.inputs, session.row)]
        plate = state.plate if state.plate in names else [*own, *names][0]
        return plate, state.value if state.value in values else list(values)[-1]

    plate, value = chosen()
    choose_plate = _select("Plate", {name: name for name in names}, plate)
    choose_value = _select("Value", {title: name for name, title in values.items()}, value)
    source = ColumnDataSource(list_wells(session.inputs, session.row, plate, value))
    plot, title = _plot(session, source), Title()
    plot.title = title  # another title in its place would not be drawn
    link, where = svg_link("plate"), note("")
    summary = Table(sizing_mode="stretch_width", label="Medians of all plates", file="plates.csv")
    summary.fill(plates.summary().select("plate", "wells", "controls", *values))

    def update(*_: object) -> None:
        choose_plate.value, choose_value.value = plate, value = chosen()
        link.object = link_to_svg("plate", plate=plate, value=value, row=session.row)
        source.data = list_wells(session.inputs, session.row, plate, value)
        columns, rows = list_axes(source.data["column"], source.data["row"])
        title.text = f"{plate}: {values[value]}"
        where.object = paragraph(explain_wells(session.inputs, session.row, plate))
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


def _select(name: str, options: dict[str, str], value: str) -> pn.widgets.Select:
    return pn.widgets.Select(
        label=name,
        options=options,
        value=value,
        stylesheets=[WIDGETS],
        sizing_mode="stretch_width",
    )


def _plot(session: Session, source: ColumnDataSource) -> figure:
    columns, rows = list_axes(source.data["column"], source.data["row"])
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
