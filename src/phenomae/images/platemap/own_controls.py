"""Chooses the negative controls of a data set that lists its own wells, such as RxRx19a.

Its layout says which wells are controls; the settings control_column and control_label choose
others by any column of the data set's table.
"""

from pathlib import Path

import polars as pl

from phenomae.images.fields import RawPlates
from phenomae.images.platemap.columns import join_columns, read_controls
from phenomae.images.platemap.settings import PlateMapSettings

_KEYS = ["plate", "well"]


def choose_controls(source: Path | str, raw: RawPlates, settings: PlateMapSettings) -> pl.DataFrame:
    """Return the plate map of `raw`, with the controls that the settings choose.

    Without these settings the controls are those of the layout. Raises ValueError, naming `source`,
    if a column is missing, no well has the label, or values are neither true nor false without one.
    """
    assert raw.wells is not None
    if not are_chosen(settings):
        return raw.wells
    # The layout's own answer is no column of the table: `control` alone would name nothing.
    table = raw.wells.drop("control").with_columns(pl.col("concentration_um").cast(pl.String))
    if raw.own_columns is not None:
        more = [name for name in raw.own_columns.columns if name not in table.columns]
        table = table.join(
            raw.own_columns.select([*_KEYS, *more]), _KEYS, "left", maintain_order="left"
        )
    controls = read_chosen(source, table.drop(_KEYS), settings)
    return raw.wells.with_columns(control=controls)


def are_chosen(settings: PlateMapSettings) -> bool:
    """Return whether settings choose other controls than the data set's own."""
    is_default = settings.control_column == PlateMapSettings.control_column
    return settings.control_label is not None or not is_default


def read_chosen(source: Path | str, table: pl.DataFrame, settings: PlateMapSettings) -> pl.Series:
    """Return which rows of a table of text are controls; raises ValueError as `choose_controls`."""
    names = [name.strip() for name in settings.control_column.split(",")]
    if missing := [name for name in names if name not in table.columns]:
        raise ValueError(
            f"{source} has no column {missing[0]!r} (setting control_column) by which controls "
            f"could be chosen; it has {', '.join(table.columns)}"
        )
    joined = join_columns(table, names)
    return read_controls(source, joined, settings.control_column, settings.control_label)
