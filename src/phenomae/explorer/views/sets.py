"""A list of names that was pasted: how alike they are, and what else on the map is like them."""

from typing import Any

import numpy as np
import panel as pn
from bokeh.core.properties import field
from bokeh.models import ColorBar, HoverTool, LinearColorMapper
from bokeh.palettes import RdBu11, interp_palette
from bokeh.plotting import figure

from phenomae.explorer.list_answer import (
    MAX_MATRIX,
    MAX_NAMES,
    MAX_PAIRS,
    ListAnswer,
    answer_list,
)
from phenomae.explorer.name_text import NamesOfText
from phenomae.explorer.plots import make_plot
from phenomae.explorer.table import Table
from phenomae.explorer.view import WIDGETS, Session, View, follow_links, note
from phenomae.progress import count_of
from phenomae.reporting.words import shorten

_LONGEST_LABEL = 16
_MAX_TEXT = 20_000  # characters; the address has them all, and servers limit it to 64 kB


def _build(session: Session) -> pn.viewable.Viewable:
    state = session.state
    box = pn.widgets.TextAreaInput(
        label="Names, separated by lines, commas or spaces",
        value=state.names,
        max_length=_MAX_TEXT,
        rows=5,
        sizing_mode="stretch_width",
        stylesheets=[WIDGETS],
    )
    button = pn.widgets.Button(label="Compare", stylesheets=[WIDGETS])
    place = pn.Column(sizing_mode="stretch_width")

    def update(*_: object) -> None:
        text = state.names
        box.value = text
        if not text.strip():
            place[:] = [note("Paste names of the map: a complex, a pathway, the hits of a screen.")]
            return
        place[:] = [note("Comparing the names with random lists ...")]

        def show(views: Any) -> None:
            if state.names == text:  # no other list was given meanwhile
                place[:] = views

        session.later(lambda: _answer(session, text), lambda found: show(_show(session, found)))

    def read(*_: object) -> None:
        state.names = box.value

    box.param.watch(read, "value")
    button.on_click(read)
    state.param.watch(update, "names")
    update()
    return pn.Column(box, button, place, sizing_mode="stretch_width")


def _answer(session: Session, text: str) -> tuple[NamesOfText, str, ListAnswer | None]:
    """Return the names of a text, a sentence on them, and what is said of them if it can be."""
    inputs = session.inputs
    names = NamesOfText.read(text, inputs.search)
    unknown = names.describe_unknown(inputs.search)
    count = len(names.rows)
    sentences = [f"{count_of(count, 'name')} on the map."]
    if count < 2:
        sentences.append("A list needs 2 or more to be compared.")
    if count > MAX_NAMES:
        sentences.append(f"A list may have up to {MAX_NAMES:,}.")
    fits = 2 <= count <= MAX_NAMES
    answer = answer_list(inputs, names.rows) if fits else None
    return names, " ".join([*sentences, unknown]).strip(), answer


def _show(session: Session, found: Any) -> list[pn.viewable.Viewable]:
    _, sentence, answer = found
    if answer is None:
        return [note(sentence)]
    summary = Table(sizing_mode="stretch_width", file="list.csv")
    summary.label = "How alike they are, over all pairs, beside random lists of as many names"
    summary.fill(
        answer.summary,
        random_mean="random lists, mean",
        random_high="random lists, 95 % below",
    )
    pairs = Table(sizing_mode="stretch_width", file="pairs-of-list.csv")
    number = len(answer.names) * (len(answer.names) - 1) // 2
    first = f", the first {MAX_PAIRS} by cosine" if number > MAX_PAIRS else ""
    pairs.label = f"Pairs of the list: {number:,}{first}"
    pairs.fill(answer.pairs, link=("name", "other"), other="other name")
    nearest = Table(sizing_mode="stretch_width", file="nearest-to-list.csv")
    nearest.label = "Nearest to the mean profile of the list, without its own names"
    nearest.fill(answer.nearest, link="neighbor")
    follow_links(session, (pairs, nearest), None)
    draws = len(answer.cohesion.random)
    about = note(
        f"p is the share of {draws:,} random lists of the map that are as alike or more, 1 added "
        "to both counts."
    )
    return [note(sentence), summary, about, *_matrix(answer), nearest, pairs]


def _matrix(answer: ListAnswer) -> list[pn.viewable.Viewable]:
    """Return the heat map of a list that is not too long for it."""
    if len(answer.names) > MAX_MATRIX:
        return [note(f"The cosines of lists of up to {MAX_MATRIX} names are also drawn.")]
    side = min(48, max(13, 540 // len(answer.names))) * len(answer.names)
    plot = pn.pane.Bokeh(_draw(answer, side), sizing_mode="stretch_width", max_width=200 + side)
    return [plot, note("Cosines of the names; those that are alike are beside each other.")]


def _draw(answer: ListAnswer, side: int) -> figure:
    count = len(answer.names)
    rows, columns = np.indices((count, count)).reshape(2, -1)
    names = np.array(answer.names, dtype=object)
    plot = make_plot(
        height=130 + side,
        x_range=(-0.5, count - 0.5),
        y_range=(count - 0.5, -0.5),
        tools="",
    )
    plot.grid.grid_line_color = None
    palette = list(interp_palette(RdBu11, 255))
    mapper = LinearColorMapper(palette=palette, low=-1, high=1)
    cells = plot.rect(
        "column",
        "row",
        1,
        1,
        source={
            "row": rows,
            "column": columns,
            "cosine": answer.cosines.ravel(),
            "name": names[rows],
            "other": names[columns],
        },
        fill_color=field("cosine", mapper),
        line_color=None,
    )
    labels = [shorten(name, _LONGEST_LABEL) for name in answer.names]
    for axis in (plot.xaxis[0], plot.yaxis[0]):
        axis.ticker = list(range(count))
        axis.major_label_overrides = dict(enumerate(labels))
        axis.major_tick_line_color = None
        axis.axis_line_color = None
    plot.xaxis.major_label_orientation = "vertical"
    plot.add_layout(ColorBar(color_mapper=mapper, width=10), "right")
    tips = [("", "@name, @other"), ("cosine", "@cosine{0.000}")]
    plot.add_tools(HoverTool(renderers=[cells], tooltips=tips))
    return plot


VIEW = View("sets", "Sets", _build)
