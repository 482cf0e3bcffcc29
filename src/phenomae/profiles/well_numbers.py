"""Further columns of wells that profile tables have: sites, cells, quality, `Metadata_...`."""

from collections.abc import Collection
from pathlib import Path

import polars as pl

from phenomae.profiles.columns import numbers_sites
from phenomae.records import LABEL_COLUMNS, METADATA, WELL_COLUMNS, cast_columns

CELLS = "Metadata_cells"
"""Column of wells with the number of cells over which a profile is an average."""
OBJECT_COUNT = "metadata_object_count"
# pycytominer's `aggregate` counts sites and cells under these names.
_COUNTS = {"sites": "metadata_site_count", CELLS: OBJECT_COUNT}
_NUMBERS = {name: kind for name, kind in WELL_COLUMNS.items() if name not in LABEL_COLUMNS}
_PLACES = ("plate", "well")


def read_numbers_of_wells(
    path: Path, wells: pl.DataFrame, varying: Collection[str]
) -> pl.DataFrame:
    """Return the columns of wells that are no labels, and cells if they are counted.

    A column that the table lacks is empty. Raises ValueError if one is not a number.
    """
    lower = {name.lower(): name for name in wells.columns if name not in varying}
    kinds = {**_NUMBERS, CELLS: pl.Int32()}
    columns = []
    for name, kind in kinds.items():
        if name in _PLACES:
            continue
        own = name.removeprefix(METADATA)
        names = (f"metadata_{own}", own, _COUNTS.get(name, own))
        if found := next((lower[each] for each in names if each in lower), None):
            values = wells.select(found)
            if wells.schema[found] == pl.String:  # where one is missing, pandas writes 12 as 12.0
                values = values.select(
                    pl.col(found).replace("", None).str.replace(r"^(\d+)\.0+$", "$1")
                )
            columns.append(cast_columns(values, {found: kind}, str(path))[found].alias(name))
        elif name != CELLS:
            columns.append(pl.Series(name, [None] * len(wells), dtype=kind))
    return pl.DataFrame(columns)


def extra_metadata(wells: pl.DataFrame, varying: Collection[str]) -> pl.DataFrame:
    """Return the columns `Metadata_...` that wells keep as they are.

    Left out are those with several values within a well, those that have become columns of wells,
    and those that `export` adds.
    """
    taken = {f"metadata_{name}" for name in WELL_COLUMNS} | {CELLS.lower(), *_COUNTS.values()}
    if "metadata_control" in map(str.lower, wells.columns):
        taken |= {name.lower() for name in wells.columns if _is_exported(wells[name])}
    kept = [
        name
        for name in wells.columns
        if name.startswith(METADATA)
        and name not in varying
        and name.lower() not in taken
        and not (varying and numbers_sites(name))
    ]
    # Categories differ from plate to plate, and are text in all other tools.
    return wells.select(kept).with_columns(pl.col(pl.Categorical, pl.Enum).cast(pl.String))


def _is_exported(column: pl.Series) -> bool:
    """Return whether `export` may have added a column, which says what `control` says."""
    words = {"metadata_control_type": {"negcon"}, "metadata_pert_type": {"control", "trt"}}
    own = words.get(column.name.lower())
    return own is not None and {*column.cast(pl.String).drop_nulls()} <= {*own, ""}
