"""Small pictures of wells and of the rows of a map, drawn from a store as PNG."""

import io

import numpy as np
import polars as pl
from jaxtyping import Float32

from phenomae.maps.export_source import Rows
from phenomae.maps.fields_of_rows import name_fields
from phenomae.progress import count_of, info, tracked
from phenomae.store.display import compose, store_colors
from phenomae.store.read import Store, open_store, read_field, windows
from phenomae.urls import Location


def draw_thumbnails(rows: Rows, location: Location, side: int) -> tuple[pl.Series, dict[str, str]]:
    """Return a PNG of each row, as structs with `bytes`, and the identities of the store.

    It shows the first field of a well, or of the first well of a map's row, all channels in their
    colours and intensity windows. Rows that the store does not have are null; their number is
    printed. Raises ValueError if the store has none of them, or if the map does not record what its
    rows are.
    """
    store = open_store(location)
    found = _find_fields(rows, store)
    absent = found.null_count()
    if absent == len(found):
        raise ValueError(
            f"{store.path} has no field of a row of {rows.path}: is it another screen?"
        )
    if absent:
        info(f"rows without a picture in {store.path}: {absent} of {count_of(len(found), 'row')}")
    indices = found.drop_nulls().unique().to_list()
    colors = store_colors(store)
    pictures = {
        index: _draw(store, index, colors, side)
        for index in tracked(indices, "drawing", len(indices), "pictures")
    }
    cells = [{"bytes": pictures[index]} if index is not None else None for index in found]
    return pl.Series(cells, dtype=pl.Struct({"bytes": pl.Binary})), store.sources


def _find_fields(rows: Rows, store: Store) -> pl.Series:
    """Return the index of each row's first field in the store, null where there is none."""
    # The table of fields is sorted, so the first is that of the first well and site.
    named = name_fields(rows, store).drop_nulls("name")
    first = named.unique("name", keep="first", maintain_order=True).select("name", "field")
    table = pl.DataFrame({"name": rows.names})
    return table.join(first, on="name", how="left", maintain_order="left")["field"]


def _draw(store: Store, index: int, colors: Float32[np.ndarray, "c 3"], side: int) -> bytes:
    """Return the PNG of a field."""
    from PIL import Image

    shown = compose(read_field(store, index), windows(store, [index])[0], colors)
    image = Image.fromarray(shown)
    scale = side / max(image.size)
    size = tuple(max(1, round(length * scale)) for length in image.size)
    buffer = io.BytesIO()
    image.resize((size[0], size[1]), Image.Resampling.BOX).save(buffer, "PNG")
    return buffer.getvalue()
