"""Which wells of a screen are replicates of what, and which are controls."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Bool, Int


@dataclass(frozen=True)
class Replicates:
    """The wells of each perturbation (or gene, or compound), in the order of their names."""

    names: list[str]
    groups: Int[np.ndarray, " n"]
    """Row of `names` that each well is a replicate of; -1 for controls and wells without a name."""
    control: Bool[np.ndarray, " n"]
    wells: Int[np.ndarray, " g"]
    """How many each name has."""


def find_replicates(table: pl.DataFrame, by: str, source: Path) -> Replicates:
    """Return the wells of each name of the column `by`, controls left out.

    Raises ValueError, naming `source`, where no well but controls has a name in that column.
    """
    control = table["control"].fill_null(False).to_numpy()
    named = table.select(pl.when(~pl.Series(control)).then(pl.col(by).replace("", None)))[by]
    names = named.drop_nulls().unique().sort()
    if names.is_empty():
        raise ValueError(
            f"{source} has no well with a {by} that is not a control: fill the column {by} in the "
            "plate map"
        )
    codes = pl.DataFrame({by: names, "code": np.arange(len(names))})
    joined = pl.DataFrame({by: named}).join(codes, on=by, how="left", maintain_order="left")
    groups = joined["code"].fill_null(-1).to_numpy()
    wells = np.bincount(groups[groups >= 0], minlength=len(names))
    return Replicates(names.to_list(), groups, control, wells)


def require_replicates(replicates: Replicates, least: int, by: str, source: Path) -> None:
    """Raise ValueError where no name has at least so many wells."""
    most = int(replicates.wells.max())
    if most < least:
        raise ValueError(
            f"{source} has at most {most} {'well' if most == 1 else 'wells'} of a {by}, and at "
            f"least {least} are needed: bring more wells of each"
        )


def require_controls(replicates: Replicates, least: int, source: Path) -> None:
    """Raise ValueError where a screen has fewer than `least` control wells."""
    if (count := int(replicates.control.sum())) < least:
        raise ValueError(
            f"{source} has {count} control wells, and at least {least} are needed to say what no "
            "effect looks like: set `control` to true for wells whose perturbation should do "
            "nothing"
        )


def places_among_alike(
    order: Int[np.ndarray, " n"], *codes: Int[np.ndarray, " n"]
) -> Int[np.ndarray, " n"]:
    """Return the place of every well, 0, 1, ..., among those of its codes.

    `order` says which well comes first, second, ...; wells of the same codes stand together in it.
    """
    ordered = np.column_stack(codes)[order]
    starts = np.r_[True, (ordered[1:] != ordered[:-1]).any(axis=1)]
    first = np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))
    places = np.empty(len(order), dtype=np.int64)
    places[order] = np.arange(len(order)) - first
    return places
