"""Pictures of fields on a page, and one of them at full resolution."""

import param
from panel.custom import JSComponent

from phenomae.explorer.table import read_asset


class Gallery(JSComponent):
    """Rows of pictures; a click on one enlarges it, and is written to `field`."""

    items = param.List(default=[], doc="Rows of dicts with field, text, control, height and width")
    channels = param.List(default=[], doc="Numbers of the channels that are shown")
    field = param.Integer(-1, doc="Index of the field that is enlarged; -1 for none")
    field_text = param.String("", doc="Plate, well and site of the enlarged field")

    _esm = read_asset("gallery.js")
    _stylesheets = [read_asset("gallery.css")]  # noqa: RUF012 (Panel declares it without ClassVar)
