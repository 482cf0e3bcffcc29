"""Finds the replicates of each perturbation and the controls in a table of wells."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Bool, Int

from phenomae.progress import count_of


@dataclass(frozen=True)
class Replicates:
    """The wells of each perturbation (or of each gene, guide or compound), sorted by name."""

    names: list[str]
    groups: Int[np.ndarray, " n"]
    """Index in `names` of the name of each well; -1 for controls and wells without a name."""
    control: Bool[np.ndarray, " n"]
    wells: Int[np.ndarray, " g"]
    """Number of wells of each name."""


def find_replicates(table: pl.DataFrame, by: str, path: Path) -> Replicates:
    """Group the treated wells by their names in the column `by`.

    `path` is named in errors. Raises ValueError if no treated well has a name in that column.
    """
    control = table["control"].fill_null(False).to_numpy()
    # Controls often have names (NTC1, NTC2), but are not perturbations to test.
    named = table.select(pl.when(~pl.Series(control)).then(pl.col(by).replace("", None)))[by]
    names = named.drop_nulls().unique().sort()
    if names.is_empty():
        raise ValueError(
            f"{path} has no treated well with a {by}: fill the column {by} in the plate map"
        )
    codes = pl.DataFrame({by: names, "code": np.arange(len(names))})
    # maintain_order, because polars joins may reorder rows, and codes must align with wells.
    joined = pl.DataFrame({by: named}).join(codes, on=by, how="left", maintain_order="left")
    groups = joined["code"].fill_null(-1).to_numpy()
    wells = np.bincount(groups[groups >= 0], minlength=len(names))
    return Replicates(names.to_list(), groups, control, wells)


def require_replicates(
    replicates: Replicates, minimum: int, by: str, path: Path, remedy: str = "use more replicates"
) -> None:
    """Raise ValueError if no name has at least `minimum` wells."""
    largest = int(replicates.wells.max())
    if largest < minimum:
        raise ValueError(
            f"{path} has at most {count_of(largest, 'well')} per {by}, but at "
            f"least {minimum} are needed: {remedy}"
        )


def require_controls(replicates: Replicates, minimum: int, path: Path) -> None:
    """Raise ValueError if there are fewer than `minimum` control wells."""
    if (count := int(replicates.control.sum())) < minimum:
        raise ValueError(
            f"{path} has {count_of(count, 'control well')}, but at least {minimum} are needed for "
            "the null distribution: set `control` to true for wells whose perturbation should have "
            "no effect"
        )


def rank_within(
    order: Int[np.ndarray, " n"], *codes: Int[np.ndarray, " n"]
) -> Int[np.ndarray, " n"]:
    """Return the rank 0, 1, ... of every well among the wells with the same codes.

    `order` sorts the wells so that equal codes are adjacent; ranks follow this order.
    """
    # `first` is the position of the first well with the same codes, for every position in `order`.
    ordered = np.column_stack(codes)[order]
    starts = np.r_[True, (ordered[1:] != ordered[:-1]).any(axis=1)]
    first = np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = np.arange(len(order)) - first
    return ranks
