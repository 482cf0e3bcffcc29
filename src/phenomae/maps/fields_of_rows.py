"""Finds the fields of a store that the rows of a map, or wells, were made from."""

import polars as pl

from phenomae.maps.export_source import FOREIGN, Rows
from phenomae.maps.row_names import name_rows
from phenomae.maps.settings import MapSettings
from phenomae.row_filter import match_rows
from phenomae.store.read import Store


def name_fields(rows: Rows, store: Store) -> pl.DataFrame:
    """Return the store's table of fields with `field`, its index, and `name`, its row of the map.

    `name` is null for fields of no row; of wells it is PLATE/WELL. Fields that the map's condition
    `where` leaves out are left out. Raises ValueError if the map does not record what its rows are,
    or has labels that the store has not.
    """
    fields = store.fields.with_row_index("field").with_columns(pl.col("field").cast(pl.Int64))
    if rows.by is None:
        return fields.with_columns(name=pl.concat_str("plate", "well", separator="/"))
    if rows.by == FOREIGN:
        raise ValueError(
            f"{rows.path} does not record what its rows are, so the store's wells of a row are "
            "not known: leave out store"
        )
    if rows.labels not in (None, store.sources.get("labels")):
        raise ValueError(
            f"{rows.path} has the labels of a plate map that {store.path} has not, so the wells of "
            "its rows are not known: leave out store, or relabel it (store relabel)"
        )
    if rows.where is not None:
        fields = fields.filter(match_rows(fields, rows.where, str(store.path)))
    settings = MapSettings(by=rows.by, controls=True)  # pyright: ignore[reportArgumentType]
    return name_rows(fields, settings)
