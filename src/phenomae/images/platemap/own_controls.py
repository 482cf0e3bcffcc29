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
    column, label = settings.control_column, settings.control_label
    if label is None and column == PlateMapSettings.control_column:
        return raw.wells
    # The layout's own answer is no column of the table: `control` alone would name nothing.
    table = raw.wells.drop("control").with_columns(pl.col("concentration_um").cast(pl.String))
    if raw.own_columns is not None:
        more = [name for name in raw.own_columns.columns if name not in table.columns]
        table = table.join(
            raw.own_columns.select([*_KEYS, *more]), _KEYS, "left", maintain_order="left"
        )
    names = [name.strip() for name in column.split(",")]
    known = [name for name in table.columns if name not in _KEYS]
    if missing := [name for name in names if name not in known]:
        raise ValueError(
            f"{source} has no column {missing[0]!r} (setting control_column) by which controls "
            f"could be chosen; it has {', '.join(known)}"
        )
    controls = read_controls(source, join_columns(table, names), column, label)
    return raw.wells.with_columns(control=controls)
