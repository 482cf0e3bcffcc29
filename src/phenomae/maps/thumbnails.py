"""Small pictures of wells and of the rows of a map, drawn from a store as PNG."""

import io

import numpy as np
import polars as pl
from jaxtyping import Float, UInt8

from phenomae.maps.export_source import FOREIGN, Rows
from phenomae.maps.row_names import name_rows
from phenomae.maps.settings import MapSettings
from phenomae.progress import count_of, info, tracked
from phenomae.row_filter import match_rows
from phenomae.store.colors import choose_colors
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
    colors = _rgb(choose_colors(store.channels))
    pictures = {
        index: _draw(store, index, colors, side)
        for index in tracked(indices, "drawing", len(indices), "pictures")
    }
    cells = [{"bytes": pictures[index]} if index is not None else None for index in found]
    return pl.Series(cells, dtype=pl.Struct({"bytes": pl.Binary})), store.sources


def _find_fields(rows: Rows, store: Store) -> pl.Series:
    """Return the index of each row's field in the store's table, null where there is none."""
    fields = store.fields.with_row_index("field").with_columns(pl.col("field").cast(pl.Int64))
    if rows.by is None:
        keys = ["plate", "well"]
        table = rows.table.select(keys)
    elif rows.by == FOREIGN:
        raise ValueError(
            f"{rows.path} does not record what its rows are, so the store's wells of a row are "
            "not known: leave out store"
        )
    elif rows.labels not in (None, store.sources.get("labels")):
        raise ValueError(
            f"{rows.path} has the labels of a plate map that {store.path} has not, so the wells of "
            "its rows are not known: leave out store, or relabel it (store relabel)"
        )
    else:
        keys = ["name"]
        if rows.where is not None:
            fields = fields.filter(match_rows(fields, rows.where, str(store.path)))
        settings = MapSettings(by=rows.by, controls=True)  # pyright: ignore[reportArgumentType]
        fields = name_rows(fields, settings)
        table = pl.DataFrame({"name": rows.names})
    # The table of fields is sorted, so the first is that of the first well and site.
    first = fields.drop_nulls(keys).unique(keys, keep="first", maintain_order=True)
    joined = table.join(first.select(*keys, "field"), on=keys, how="left", maintain_order="left")
    return joined["field"]


def _rgb(colors: list[str]) -> Float[np.ndarray, "c 3"]:
    """Return the colours RRGGBB as numbers from 0 to 1."""
    return np.array([list(bytes.fromhex(color)) for color in colors], dtype=np.float32) / 255


def _draw(store: Store, index: int, colors: Float[np.ndarray, "c 3"], side: int) -> bytes:
    """Return the PNG of a field."""
    from PIL import Image

    low, high = np.moveaxis(windows(store, [index])[0], -1, 0)[:, :, None, None]
    pixels = read_field(store, index).astype(np.float32)
    levels = ((pixels - low) / np.maximum(high - low, 1e-6)).clip(0, 1)
    # The sum of the channels' colours, as viewers show it.
    light = np.einsum("chw,ck->hwk", levels, colors).clip(0, 1)
    shown: UInt8[np.ndarray, "h w 3"] = np.rint(light * 255).astype(np.uint8)
    image = Image.fromarray(shown)
    scale = side / max(image.size)
    size = tuple(max(1, round(length * scale)) for length in image.size)
    buffer = io.BytesIO()
    image.resize((size[0], size[1]), Image.Resampling.BOX).save(buffer, "PNG")
    return buffer.getvalue()
