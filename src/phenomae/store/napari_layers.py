"""The fields of wells as layers of napari: names, colors, intensity windows and places.

A layer is one channel of one field, described by arguments of `napari.Viewer.add_image`, so that
the same description can be printed as a script and given to napari. The fields of a well are side
by side, and wells below each other.
"""

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import polars as pl

from phenomae.store.display import read_colors
from phenomae.store.read import Store, windows

_GAP = 20  # pixels between fields
_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True)
class Layer:
    """One channel of one field, and how napari shows it."""

    field: int
    """Index of the field: its row in the store's table."""
    channel: int
    shown: dict[str, Any]
    """Arguments of `add_image`, all of which Python can print and read again."""


def find_fields(store: Store, wells: Sequence[str]) -> list[list[int]]:
    """Return the indices of the fields of each well, written PLATE/WELL or PLATE/WELL/SITE.

    Raises ValueError if the store has no such well or site.
    """
    keys = pl.concat_str("plate", "well", separator="/")
    table = store.fields.select(key=keys, site="site").with_row_index("field")
    return [_find(table, well, store) for well in wells]


def _find(table: pl.DataFrame, name: str, store: Store) -> list[int]:
    plate, _, rest = name.partition("/")
    well, slash, site = rest.partition("/")
    found = table.filter(pl.col("key") == f"{plate}/{well}")
    if found.is_empty():
        known = table["key"].unique(maintain_order=True).to_list()
        close = get_close_matches(f"{plate}/{well}", known, n=3) or known[:3]
        raise ValueError(
            f"{store.path} has no well {name!r}: wells are written PLATE/WELL, like "
            f"{' or '.join(close)}"
        )
    sites = [str(number) for number in found["site"]]
    if not slash:
        return found["field"].to_list()
    if site not in sites:
        raise ValueError(
            f"{store.path} has no site {site!r} of well {plate}/{well}: it has {', '.join(sites)}"
        )
    return [found["field"][sites.index(site)]]


def describe_layers(store: Store, fields: Sequence[Sequence[int]]) -> list[Layer]:
    """Return a layer for each channel of the fields; each of `fields` is a row of the picture."""
    size = store.pixel_size_um
    scale = {"scale": (size, size), "units": ("um", "um")} if size is not None else {}
    layers = []
    for field, top, left in _arrange(store, fields):
        row = store.fields.row(field, named=True)
        ends = windows(store, [field])[0].tolist()
        for channel, color in enumerate(read_colors(store, field)):
            low, high = ends[channel]
            shown = {
                "name": f"{row['plate']}/{row['well']}/{row['site']} {store.channels[channel]}",
                "colormap": f"#{color}",
                "contrast_limits": (low, max(high, low + 1)),  # of an empty channel both are equal
                "translate": (top * (size or 1), left * (size or 1)),
                "blending": "additive",
                **scale,
            }
            layers.append(Layer(field, channel, shown))
    return layers


def _arrange(store: Store, fields: Sequence[Sequence[int]]) -> Iterator[tuple[int, int, int]]:
    """Yield each field with its first row and column of pixels in the picture."""
    heights, widths = store.fields["height"], store.fields["width"]
    top = 0
    for row in fields:
        left = 0
        for field in row:
            yield field, top, left
            left += widths[field] + _GAP
        top += max(heights[field] for field in row) + _GAP


def write_script(store: Store, layers: Sequence[Layer]) -> str:
    """Return a Python program that opens the layers in napari.

    Raises ValueError if a path that stands in a comment has a control character.
    """
    is_local = isinstance(store.path, Path)
    place = str(Path(store.path).absolute()) if is_local else str(store.path)
    lines = [
        "# Opens fields of a store in napari. Run it where napari and phenomae are installed.",
        *_plugin_lines(store, layers),
        "import napari",
        "",
        "import phenomae",
        "from phenomae.store.read import read_field",
        "",
        f"store = phenomae.open_store({place!r})",
        "layers = [  # row of store.fields, channel, arguments of add_image",
        *(f"    ({layer.field}, {layer.channel}, {layer.shown!r})," for layer in layers),
        "]",
        "pixels = {field: read_field(store, field) for field, _, _ in layers}",
        f"viewer = napari.Viewer(title={place!r})",
        "for field, channel, shown in layers:",
        "    viewer.add_image(pixels[field][channel], **shown)",
        "napari.run()",
    ]
    return "\n".join(lines)


def _plugin_lines(store: Store, layers: Sequence[Layer]) -> list[str]:
    """Return a comment with the command that opens one field without phenomae."""
    if store.references is not None or not isinstance(store.path, Path):
        return []
    image = str(store.path.absolute() / store.fields["path"][layers[0].field])
    # A line break would end the comment, and what follows it would run as Python.
    if _CONTROL_CHARACTER.search(image):
        raise ValueError(
            f"the path {image!r} has a control character, and stands in a script that is printed: "
            "rename the folder, or make the store again if the path is that of a field"
        )
    return [
        "# One field without phenomae, with the plugin napari-ome-zarr and ome-zarr 0.12 or newer:",
        f"# napari --plugin napari-ome-zarr {shlex.quote(image)}",
    ]
