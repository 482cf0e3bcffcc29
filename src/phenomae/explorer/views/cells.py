"""The cells: fields of the searched name beside control fields of the same plates."""

from html import escape

import panel as pn

from phenomae.explorer.assets import read_asset
from phenomae.explorer.gallery import Gallery, item
from phenomae.explorer.inputs import NO_STORE, Inputs
from phenomae.explorer.state import read_number
from phenomae.explorer.view import WIDGETS, Session, View, note, paragraph
from phenomae.store.display import read_colors

_WELLS = 4  # of a name
_ALL = "all"


def _build(session: Session) -> pn.viewable.Viewable:
    inputs, state = session.inputs, session.state
    cells, store = inputs.on_map.cells, inputs.on_map.store
    assert cells is not None
    assert store is not None
    gallery = Gallery(sizing_mode="stretch_width")
    hint = note("Search for a name: its fields are shown here.")
    switches = _build_switches(session)

    def picture(field: int, is_control: bool) -> dict[str, object]:
        shape = store.fields.select("height", "width").row(field)
        text = f"{'control, ' if is_control else ''}{cells.describe(field)}"
        return item(f"fields/{field}.png", field, text, shape, control=is_control)

    def update(*_: object) -> None:
        shown = cells.of(session.row, _WELLS) if session.row else []
        hint.visible = not shown
        hint.object = note_text(session.row)
        gallery.items = [
            [
                picture(field, field == pair.control)
                for field in (pair.field, pair.control)
                if field is not None
            ]
            for pair in shown
        ]

    def enlarge(*_: object) -> None:
        field = state.field
        if not -1 <= field < len(store.fields):
            field = state.field = -1
        text, shape = "", [0, 0]
        if field >= 0:
            text = cells.describe(field)
            shape = list(store.fields.select("height", "width").row(field))
        gallery.param.update(field=field, field_text=text, field_shape=shape)

    def choose_channels(*_: object) -> None:
        gallery.channels = shown_channels(state.channels, len(store.channels))

    def pick(*_: object) -> None:
        if gallery.point and gallery.field >= 0:
            left, top = gallery.point
            state.param.update(crop=f"{gallery.field},{top},{left}", view="crops")

    gallery.param.watch(lambda event: state.param.update(field=event.new), "field")
    gallery.param.watch(pick, "point")
    state.param.watch(update, "row")
    state.param.watch(enlarge, "field")
    state.param.watch(choose_channels, "channels")
    choose_channels()
    update()
    enlarge()
    return pn.Column(switches, hint, gallery, sizing_mode="stretch_width")


def note_text(row: str) -> str:
    """Return the HTML of the sentence that stands where there are no pictures."""
    if not row:
        return paragraph("Search for a name: its fields are shown here.")
    return paragraph(f"The store has no field of {row}.")


def shown_channels(text: str, count: int) -> list[int]:
    """Return the channels of the address; all for `all` or what is no list of channels."""
    numbers = [read_number(word) for word in text.split(",") if word]
    known = {number for number in numbers if number is not None and number < count}
    return list(range(count)) if text == _ALL or len(known) < len(set(numbers)) else sorted(known)


def _build_switches(session: Session) -> pn.viewable.Viewable:
    store, state = session.inputs.on_map.store, session.state
    assert store is not None
    count = len(store.channels)
    box = pn.widgets.CheckBoxGroup(
        label="Channels",
        options={name: number for number, name in enumerate(store.channels)},
        value=shown_channels(state.channels, count),
        inline=True,
        stylesheets=[WIDGETS],
    )
    chips = "".join(
        f'<li><span style="background:#{color}"></span>{escape(name)}</li>'
        for name, color in zip(store.channels, read_colors(store), strict=True)
    )
    legend = pn.pane.HTML(
        f'<ul aria-label="Colors of the channels">{chips}</ul>',
        stylesheets=[read_asset("legend.css")],
    )

    def follow(event: object) -> None:
        chosen = sorted(box.value)
        state.channels = _ALL if len(chosen) == count else ",".join(map(str, chosen))

    box.param.watch(follow, "value")
    return pn.Column(
        note(
            "Each field is beside a control field of the same plate. Both have the contrast of the "
            "plate: its intensity windows in the store."
        ),
        box,
        legend,
        sizing_mode="stretch_width",
    )


def _lacks(inputs: Inputs) -> str | None:
    return NO_STORE if inputs.on_map.store is None else None


VIEW = View("cells", "Cells", _build, _lacks)
