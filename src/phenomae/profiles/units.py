"""Finds what a row of profile tables is, a well, a site or a cell, and counts them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Int

from phenomae.profiles.columns import numbers_objects, numbers_sites
from phenomae.profiles.settings import Unit
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
    unit, column = ("cells", objects) if objects else ("sites", sites)
    if not column:
        return "wells"  # two rows of a well must then be the same
    info(
        f"{path}: rows are {unit}, because there is a column {column[0]} "
        f"({count_of(len(used), 'row')} of {count_of(len(np.unique(used)), 'well')}; setting rows)"
    )
    return unit


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
    sites = rows.select(columns).with_columns(_well=well).filter(pl.col("_well") >= 0).unique()
    return np.bincount(sites["_well"].to_numpy(), minlength=count)
