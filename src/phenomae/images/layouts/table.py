"""The registry of layouts: one line per layout, the values of the setting `layout`.

Modules are named by string, so that this module imports none of them: the settings need the names
only, and an explicit `--layout` imports only its own module.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # layout.py needs the settings, and the settings need the names listed here
    from phenomae.images.layouts.layout import Layout

_HERE = "phenomae.images.layouts"

# The order is the precedence of `auto`. The index of JUMP-Lite is also a LoadData table, of other
# images. A LoadData CSV says more than the microscope's index beside it; a pattern never applies
# unless it is set.
LAYOUTS: dict[str, str] = {
    "jump-lite": f"{_HERE}.jump_lite",
    "loaddata": f"{_HERE}.loaddata",
    "phenix": f"{_HERE}.phenix",
    "imagexpress": f"{_HERE}.imagexpress",
    "cellvoyager": f"{_HERE}.cellvoyager",
    "rxrx3-core": f"{_HERE}.rxrx3_core",
    "rxrx1": f"{_HERE}.rxrx1",
    "rxrx2": f"{_HERE}.rxrx2",
    "rxrx3": f"{_HERE}.rxrx3",
    "rxrx19a": f"{_HERE}.rxrx19a",
    "rxrx19b": f"{_HERE}.rxrx19b",
    "ome-zarr": f"{_HERE}.ome_zarr",
    "pattern": f"{_HERE}.pattern",
}
"""Module of each layout, which defines `LAYOUT`."""


def load_layout(name: str) -> "Layout":
    """Import the module of a registered layout and return its `LAYOUT`."""
    layout = import_module(LAYOUTS[name]).LAYOUT
    assert layout.name == name, f"{LAYOUTS[name]} defines {layout.name}, but is listed as {name}"
    return layout
