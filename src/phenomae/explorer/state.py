"""What a page shows, as it is written in its address: a link opens the same page again."""

from urllib.parse import parse_qsl, urlencode

import panel as pn
import param

VIEWS = ("neighbors", "cells", "crops", "pairs", "sets", "plates", "doses", "maps")
"""Views in the order of the page: modules of `views` with a `VIEW`."""


class State(param.Parameterized):
    """The parameters of a page. Those that are not as at first are words of the address."""

    row = param.String("", doc="Name of the row of the map that was searched for")
    view = param.String(VIEWS[0], doc="The view that is open")
    sort_nearest = param.String("", doc="Column that the nearest are sorted by, `-` if falling")
    sort_known = param.String("", doc="Column that known partners are sorted by, likewise")
    sort_farthest = param.String("", doc="Column that the farthest are sorted by, likewise")
    channels = param.String("all", doc="Numbers of the channels that are shown, or all")
    field = param.Integer(-1, doc="Index of the field that is enlarged; -1 for none")
    crop = param.String("", doc="Field, row and column of the crop that was picked, in pixels")
    source = param.String("", doc="Source of known pairs that is open")
    plate = param.String("", doc="Plate that is shown")
    value = param.String("", doc="Value that the plate view shows")
    names = param.String("", doc="A list of names, separated by lines, commas or spaces")
    found = param.String("all", doc="Known pairs that are shown: all, found or missed")
    scope = param.String("row", doc="Whose pairs are shown: those of the row, or of the map")
    problem = param.String("", doc="Why something could not be shown; not in the address")

    def __init__(self, **values: object) -> None:
        super().__init__(**values)
        # What could not be shown was of what was chosen before.
        self.param.watch(lambda *_: self.param.update(problem=""), self.shown())

    def follow_address(self) -> None:
        """Read the parameters from the address of the page, and write them to it from now on."""
        location = pn.state.location
        if location is None:  # outside a server
            return
        self.read(location.search)
        self.param.watch(lambda *_: setattr(location, "search", self.write()), self.shown())
        location.param.watch(lambda event: self.read(event.new), "search")

    def write(self) -> str:
        """Return the query of the address, empty if all parameters are as at first."""
        values = {name: getattr(self, name) for name in self.shown()}
        changed = {name: each for name, each in values.items() if each != self.param[name].default}
        return f"?{urlencode(changed)}" if changed else ""

    def read(self, query: str) -> None:
        """Set the parameters to those of a query; words that are none are left out."""
        if query == self.write():
            return
        words = dict(parse_qsl(query.removeprefix("?"), keep_blank_values=True))
        texts = {name: words.get(name, self.param[name].default) for name in self.shown()}
        if texts["view"] not in VIEWS:
            texts["view"] = VIEWS[0]
        number = read_number(words.get("field", ""))
        self.param.update({**texts, "field": -1 if number is None else number})

    def shown(self) -> list[str]:
        """Return the parameters that are in the address."""
        return [name for name in self.param if name not in ("name", "problem")]


def read_number(text: str) -> int | None:
    """Return a whole number of up to nine digits; None if the text is none."""
    # Python refuses to read numbers of thousands of digits.
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
