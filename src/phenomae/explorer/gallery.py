"""Pictures of fields on a page, and one of them at full resolution."""

import param
from panel.custom import JSComponent

from phenomae.explorer.assets import read_asset


class Gallery(JSComponent):
    """Rows of pictures; a click on one enlarges it, and is written to `field`."""

    items = param.List(default=[], doc="Rows of pictures, each of `item`")
    channels = param.List(default=[], doc="Numbers of the channels that are shown")
    field = param.Integer(-1, doc="Index of the field that is enlarged; -1 for none")
    field_text = param.String("", doc="Plate, well and site of the enlarged field")
    field_shape = param.List(default=[0, 0], doc="Its height and width in pixels of the store")
    point = param.List(default=[], doc="Column and row of the pixel that was clicked last")

    _esm = read_asset("gallery.js")
    _stylesheets = [read_asset("gallery.css")]  # noqa: RUF012 (Panel declares it without ClassVar)


def item(
    path: str, field: int, text: str, shape: tuple[int, int], *, control: bool = False
) -> dict[str, object]:
    """Return a picture of a gallery: its path, the field that a click enlarges, and its caption.

    `shape` is height and width of the picture, in any unit.
    """
    height, width = shape
    return {
        "path": path,
        "field": field,
        "text": text,
        "height": height,
        "width": width,
        "control": control,
    }
