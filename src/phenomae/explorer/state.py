"""What a page shows, as it is written in its address: a link opens the same page again."""

from collections.abc import Callable

import panel as pn
import param


class State(param.Parameterized):
    """The parameters of a page; each is a word of the address."""

    row = param.String("", doc="Name of the row of the map that was searched for")
    view = param.String("neighbors", doc="The view that is open")
    channels = param.String("all", doc="Numbers of the channels that are shown, or all")
    field = param.Integer(-1, doc="Index of the field that is enlarged; -1 for none")
    crop = param.String("", doc="Field, top and left of the crop that was picked, in pixels")
    source = param.String("", doc="Source of known pairs that is open")
    plate = param.String("", doc="Plate that is shown")
    value = param.String("", doc="Value that the plate view shows")
    names = param.String("", doc="A list of names, separated by spaces or commas")

    def follow_address(self, check: Callable[[str], bool]) -> None:
        """Read the parameters from the address of the page, and write them to it from now on."""
        location = pn.state.location
        if location is None:  # outside a server, as in tests
            return
        shown = [name for name in self.param if name != "name"]
        location.sync(self, shown)
        if self.row and not check(self.row):
            self.row = ""
