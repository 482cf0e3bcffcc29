"""Finds what a row of profile tables is, a well, a site or a cell, and counts them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Int

from phenomae.parquet_tables import as_text
from phenomae.profiles.columns import is_identifier, numbers_objects, numbers_sites
from phenomae.profiles.settings import Unit
from phenomae.profiles.well_numbers import CELLS, OBJECT_COUNT
from phenomae.progress import count_of, info


def find_unit(
    path: Path, rows: pl.DataFrame, well: Int[np.ndarray, " n"], chosen: Unit | None
) -> Unit:
    """Return what a row is: `chosen`, or what the columns of metadata tell."""
    used = well[well >= 0]
    if chosen is not None:
        return chosen
    if len(np.unique(used)) == len(used):
        return "wells"
    objects = [name for name in rows.columns if numbers_objects(name)]
    sites = [name for name in rows.columns if numbers_sites(name)]
    # Averages over sites still have a column of object numbers: their averages.
    are_sites = sites and not _select(rows, well, sites).is_duplicated().any()
    unit, column = ("cells", objects) if objects and not are_sites else ("sites", sites)
    if not column:
        return "wells"  # two rows of a well must then be the same
    info(
        f"{path}: rows are {unit}, because there is a column {column[0]} "
        f"({count_of(len(used), 'row')} of {count_of(len(np.unique(used)), 'well')}; setting rows)"
    )
    return unit


def find_twice(
    rows: pl.DataFrame, well: Int[np.ndarray, " n"], unit: Unit
) -> tuple[int, int] | None:
    """Return two rows of one site, or of one cell; None if each is there once.

    Tables without columns that number sites, or cells, do not tell.
    """
    keys = [name for name in rows.columns if numbers_sites(name)]
    objects = [name for name in rows.columns if numbers_objects(name) or is_identifier(name)]
    if unit == "wells" or not keys or (unit == "cells" and not objects):
        return None
    if unit == "cells":
        keys = [*dict.fromkeys([*keys, *objects])]
    used = _select(rows, well, keys).with_row_index("row").filter(pl.col("_well") >= 0)
    first = used.unique(["_well", *keys], keep="first", maintain_order=True)
    if len(first) == len(used):
        return None
    again = used.join(first, on="row", how="anti", maintain_order="left").head(1)
    same = first.join(again, on=["_well", *keys], how="semi", nulls_equal=True)
    return same["row"][0], again["row"][0]


def _select(
    rows: pl.DataFrame, well: Int[np.ndarray, " n"], columns: Sequence[str]
) -> pl.DataFrame:
    """Return columns, and the wells of the rows as the column `_well`."""
    return rows.select(columns).with_columns(_well=well)


def count_rows(well: Int[np.ndarray, " n"], count: int) -> Int[np.ndarray, " w"]:
    """Return the number of rows of each well."""
    return np.bincount(well[well >= 0], minlength=count)


def count_sites(
    rows: pl.DataFrame, well: Int[np.ndarray, " n"], count: int
) -> Int[np.ndarray, " w"] | None:
    """Return the number of sites of each well whose rows are cells; None without such a column."""
    columns: Sequence[str] = [name for name in rows.columns if numbers_sites(name)]
    if not columns:
        return None
    sites = _select(rows, well, columns).filter(pl.col("_well") >= 0).unique()
    return np.bincount(sites["_well"].to_numpy(), minlength=count)


def sum_cells(
    rows: pl.DataFrame, well: Int[np.ndarray, " n"], count: int
) -> Int[np.ndarray, " w"] | None:
    """Return the number of cells of each well whose rows are sites; None if they are not counted.

    pycytominer counts the cells of a site in the column Metadata_Object_Count.
    """
    names = [name for name in rows.columns if name.lower() in (CELLS.lower(), OBJECT_COUNT)]
    if not names:
        return None
    cells = as_text(rows[names[0]]).cast(pl.Int64, strict=False)
    found = pl.DataFrame({"cells": cells, "well": well}).filter(pl.col("well") >= 0)
    if found["cells"].has_nulls():
        return None
    return np.bincount(found["well"].to_numpy(), found["cells"].to_numpy(), count).astype(np.int64)
