"""A crop that was picked in a field: its reconstruction, and the crops that look like it."""

import panel as pn
import polars as pl

from phenomae.explorer.crops import Picked, crop_around, find_similar, parse_crop, token_crop_at
from phenomae.explorer.gallery import Gallery, item
from phenomae.explorer.inputs import Inputs
from phenomae.explorer.view import WIDGETS, Session, View, note, paragraph
from phenomae.explorer.views.cells import shown_channels

_LACKS = (
    "This needs tokens (--tokens OUT, written by embed --tokens OUT) to show crops that look alike,"
    " or a network (--run RUN) to show reconstructions, and the store (--store)."
)


def _build(session: Session) -> pn.viewable.Viewable:
    inputs, state = session.inputs, session.state
    assert inputs.on_map.store is not None
    hint = note("")
    similar = Gallery(sizing_mode="stretch_width")
    rebuilt = pn.pane.HTML("", sizing_mode="stretch_width")

    def update(*_: object) -> None:
        point = parse_crop(inputs, state.crop)
        text = "Enlarge a field in the view Cells, and click a cell: its crop is shown here."
        similar.items, rebuilt.object = [], ""
        if point is not None:
            text = _name_place(inputs, point)
            rebuilt.object = _reconstruction(inputs, point)
            if inputs.tokens is not None:
                text += " " + _find(session, point, similar)
        hint.object = paragraph(text)

    def choose_channels(*_: object) -> None:
        assert inputs.on_map.store is not None
        similar.channels = shown_channels(state.channels, len(inputs.on_map.store.channels))

    def enlarge(*_: object) -> None:
        field = similar.field
        if field >= 0:
            similar.field = -1  # it is shown there, not here
            state.param.update(field=field, view="cells")

    similar.param.watch(enlarge, "field")
    state.param.watch(update, "crop")
    state.param.watch(choose_channels, "channels")
    choose_channels()
    update()
    return pn.Column(hint, _build_places(session), rebuilt, similar, sizing_mode="stretch_width")


def _name_place(inputs: Inputs, point: tuple[int, int, int]) -> str:
    assert inputs.on_map.cells is not None
    field, row, column = point
    return f"{inputs.on_map.cells.describe(field)}, row {row}, column {column} (pixels)."


def _find(session: Session, point: tuple[int, int, int], gallery: Gallery) -> str:
    """Show the crops that look like the one at a point, as soon as they are found."""
    inputs, crop = session.inputs, session.state.crop
    picked = token_crop_at(inputs, point)
    if picked is None:
        return "The tokens have no crop of this field."

    def show(found: pl.DataFrame) -> None:
        if session.state.crop == crop:  # none was picked meanwhile
            gallery.items = [_pictures(inputs, picked, found)]

    session.later(lambda: find_similar(inputs, picked), show)
    return "First the crop with tokens that is nearest to it, then those of other wells most alike."


def _pictures(inputs: Inputs, picked: Picked, found: pl.DataFrame) -> list[dict[str, object]]:
    assert inputs.on_map.cells is not None
    own = [(*picked, None)]
    others = found.select("field", "top", "left", "size", "cosine").rows()
    shown = []
    for field, top, left, side, cosine in [*own, *others]:
        text = inputs.on_map.cells.describe(field)
        text = f"picked: {text}" if cosine is None else f"{text}, cosine {cosine:.3f}"
        path = f"crops/{field}-{top}-{left}-{side}.png"
        shown.append(item(path, field, text, (side, side), control=cosine is None))
    return shown


def _reconstruction(inputs: Inputs, point: tuple[int, int, int]) -> str:
    """Return the HTML of the picture of a crop around the point and its reconstruction."""
    if inputs.reconstructor is None:
        return ""
    side = inputs.reconstructor.side
    crop = crop_around(inputs, point, side)
    if crop is None:
        return f"<p>The field is smaller than a crop of the network ({side} pixels).</p>"
    alt = "Input, masked input and reconstruction of the crop, a column for each channel"
    address = f"reconstructions/{crop.field}-{crop.top}-{crop.left}.png"
    return f'<img src="{address}" alt="{alt}" style="max-width: 100%">'


def _build_places(session: Session) -> pn.viewable.Viewable:
    """Return the fields that pick a crop without a mouse."""
    state, inputs = session.state, session.inputs
    assert inputs.on_map.store is not None
    last = len(inputs.on_map.store.fields) - 1
    point = parse_crop(inputs, state.crop) or (0, 0, 0)
    boxes = [
        pn.widgets.IntInput(
            label=name, value=value, start=0, end=end, stylesheets=[WIDGETS], width=110
        )
        for name, value, end in zip(
            ("Field", "Row", "Column"), point, (last, None, None), strict=True
        )
    ]

    follows = False

    def pick(*_: object) -> None:
        if not follows:
            state.crop = ",".join(str(box.value) for box in boxes)

    def follow(*_: object) -> None:
        nonlocal follows
        follows = True  # each box changes by itself, and the first ones alone are another crop
        for box, value in zip(boxes, parse_crop(inputs, state.crop) or (), strict=False):
            box.value = value
        follows = False

    for box in boxes:
        box.param.watch(pick, "value")
    state.param.watch(follow, "crop")
    return pn.FlexBox(*boxes)


def _lacks(inputs: Inputs) -> str | None:
    has = inputs.on_map.store is not None and (inputs.tokens or inputs.reconstructor)
    return None if has else _LACKS


VIEW = View("crops", "Crops", _build, _lacks)
