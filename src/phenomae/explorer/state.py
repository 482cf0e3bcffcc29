"""What a page shows, as it is written in its address: a link opens the same page again."""

from collections.abc import Callable
from urllib.parse import parse_qsl, urlencode

import panel as pn
import param

VIEWS = ("neighbors", "cells", "pairs", "sets", "plates", "doses", "maps", "crops")


class State(param.Parameterized):
    """The parameters of a page; each is a word of the address."""

    row = param.String("", doc="Name of the row of the map that was searched for")
    view = param.String("neighbors", doc="The view that is open")
    channels = param.String("all", doc="Numbers of the channels that are shown, or all")
    field = param.Integer(-1, doc="Index of the field that is enlarged; -1 for none")
    source = param.String("", doc="Source of known pairs that is open")
    plate = param.String("", doc="Plate that is shown")
    value = param.String("", doc="Value that the plate view shows")
    names = param.String("", doc="A list of names, separated by lines, commas or spaces")
    found = param.String("all", doc="Known pairs that are shown: all, found or missed")
    scope = param.String("row", doc="Whose pairs are shown: those of the row, or of the map")

    def follow_address(self, check: Callable[[str], bool]) -> None:
        """Read the parameters from the address of the page, and write them to it from now on."""
        location = pn.state.location
        if location is None:  # outside a server, as in tests
            return
        # Not Location.sync of Panel: it makes a number of a gene called 007, and then ignores all.
        self.read(location.search)
        if self.row and not check(self.row):
            self.row = ""
        location.param.watch(lambda event: self.read(event.new), "search")  # back and forward

        def write(*_: object) -> None:
            location.search = self.to_query()

        self.param.watch(write, self._words)

    @property
    def _words(self) -> list[str]:
        return [name for name in self.param if name != "name"]

    def read(self, query: str) -> None:
        """Set the parameters to those of a query like `?row=TP53`, and others to their defaults."""
        given = dict(parse_qsl(query.removeprefix("?")))
        read: dict[str, str | int] = {}
        for name in self._words:
            default = self.param[name].default
            text = given.get(name, default)
            if isinstance(default, int):
                read[name] = int(text) if str(text).isdecimal() else default
            else:
                read[name] = text
        self.param.update(**read)

    def to_query(self) -> str:
        """Return the query of the parameters that are not at their defaults; empty if none is."""
        chosen = {name: getattr(self, name) for name in self._words}
        changed = {
            name: value for name, value in chosen.items() if value != self.param[name].default
        }
        return f"?{urlencode(changed)}" if changed else ""
