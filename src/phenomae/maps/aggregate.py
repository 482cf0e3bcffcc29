"""Averages wells to consensus profiles, either directly or first per guide and then over guides.

Means are computed a few columns at a time, because a float64 copy of the features of all wells may
not fit into memory.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from jaxtyping import Float, Float32, Float64, Int

from phenomae.maps.modz import agreement_weights, rows_of_groups
from phenomae.progress import count_of

Statistic = Literal["mean", "median", "weighted"]
_COLUMNS_AT_ONCE = 64  # limits the float64 copy to 64 columns of all wells


@dataclass(frozen=True)
class Aggregate:
    """The rows of a map, sorted by name."""

    names: list[str]
    features: Float32[np.ndarray, "g d"]
    counts: pl.DataFrame
    """One row per name. Columns wells, guides, batches: the number of wells, distinct guides and
    distinct batches of the row; control: whether all wells of the row are controls."""


def aggregate(
    table: pl.DataFrame,
    features: Float32[np.ndarray, "n d"],
    through_guides: bool,
    statistic: Statistic = "mean",
) -> Aggregate:
    """Return the average profile of the wells of each `name`.

    With `through_guides`, wells are averaged per guide, then guides per name. `table` has the
    columns name, guide, batch and control. Control wells without a guide count as one guide. Raises
    ValueError if `through_guides` is set and a treated well has no guide.
    """
    names = table["name"].unique().sort()
    code = {name: index for index, name in enumerate(names)}
    row_of_well = np.array([code[name] for name in table["name"]])
    values: Float[np.ndarray, "n d"] = features
    if through_guides:
        _require_guides(table)
        # A group is a pair of name and guide, because a guide may target two genes.
        pairs = table.select("name", pl.col("guide").fill_null(""))
        guides = pairs.unique().sort("name", "guide")
        guide_code = {pair: index for index, pair in enumerate(guides.rows())}
        guide_of_well = np.array([guide_code[pair] for pair in pairs.rows()])
        values = average(values, guide_of_well, len(guides), statistic)
        row_of_well = np.array([code[name] for name in guides["name"]])
    counts = table.group_by("name").agg(
        wells=pl.len().cast(pl.Int32),
        guides=pl.col("guide").drop_nulls().n_unique().cast(pl.Int32),
        batches=pl.col("batch").drop_nulls().n_unique().cast(pl.Int32),
        control=pl.col("control").all(),
    )
    averages = average(values, row_of_well, len(names), statistic).astype(np.float32)
    return Aggregate(names.to_list(), averages, counts.sort("name").drop("name"))


def average(
    values: Float[np.ndarray, "n d"],
    groups: Int[np.ndarray, " n"],
    count: int,
    statistic: Statistic,
) -> Float64[np.ndarray, "g d"]:
    """Return mean, median or weighted mean of the rows of each group 0 ... count - 1.

    No group may be empty.
    """
    if statistic == "mean":
        return group_means(values, groups, count)
    weights = agreement_weights(values, groups, count) if statistic == "weighted" else None
    averages = np.empty((count, values.shape[1]))
    for group, rows in enumerate(rows_of_groups(groups, count)):
        some = values[rows].astype(np.float64)
        if weights is None:
            averages[group] = np.median(some, axis=0)
        else:
            averages[group] = (weights[rows, None] * some).sum(axis=0)
    return averages


def group_means(
    values: Float[np.ndarray, "n d"], groups: Int[np.ndarray, " n"], count: int
) -> Float64[np.ndarray, "g d"]:
    """Return the mean of the rows of each group 0 ... count - 1; no group may be empty."""
    order = np.argsort(groups, kind="stable")
    sizes = np.bincount(groups, minlength=count)
    starts = np.cumsum(sizes) - sizes
    means = np.empty((count, values.shape[1]))
    for start in range(0, values.shape[1], _COLUMNS_AT_ONCE):
        some = slice(start, start + _COLUMNS_AT_ONCE)
        # Rows are sorted by group, so each group is a contiguous range, which reduceat sums.
        sums = np.add.reduceat(values[order, some].astype(np.float64), starts, axis=0)
        means[:, some] = sums / sizes[:, None]
    return means


def _require_guides(table: pl.DataFrame) -> None:
    bare = table.filter(pl.col("guide").is_null() & ~pl.col("control"))
    if not len(bare):
        return
    if bare.height == table.filter(~pl.col("control")).height:
        raise ValueError("the wells name no guides: map through wells")
    plate, well, name = bare.select("plate", "well", "name").row(0)
    raise ValueError(
        f"{count_of(len(bare), 'well')} without a guide, first {name} on plate {plate}, well "
        f"{well}: fill the column in the plate map, or map through wells"
    )
