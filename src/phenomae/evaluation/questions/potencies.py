"""Which genes a compound acts on: reads tables of potencies, sorts genes into active and not."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Int

from phenomae.evaluation.csv_lists import read_listed

COLUMNS = ("compound", "gene", "activity_um")


@dataclass(frozen=True)
class Targets:
    """What is known of one compound, as rows of the map of genes."""

    active: Int[np.ndarray, " a"]
    inactive: Int[np.ndarray, " i"]
    """Genes of the whole table that this compound does not act on, as far as the table says."""


def read_potencies(path: Path) -> pl.DataFrame:
    """Return compound, gene and the lowest activity_um of each pair a CSV file lists.

    `activity_um` is the concentration in micromolar at which the compound acts (IC50, Kd, ...).
    Raises ValueError where the file is missing, lacks a column, or has a potency that is not above
    0.
    """
    table = read_listed(path, COLUMNS, "potencies")
    potency = table.select(pl.col("activity_um").cast(pl.Float64, strict=False)).to_series()
    wrong = ~(potency.is_finite() & (potency > 0)).fill_null(False)
    if wrong.any():
        compound, gene, value = table.filter(wrong).row(0)
        raise ValueError(
            f"{path} has {wrong.sum()} rows whose activity_um is no number above 0, first "
            f"{compound} on {gene}: {value!r}"
        )
    return (
        table.with_columns(potency)
        .drop_nulls()
        .group_by("compound", "gene")
        .agg(pl.col("activity_um").min())
        .sort("compound", "gene")
    )


def find_targets(
    table: pl.DataFrame, genes: list[str], active_um: float, inactive_um: float
) -> dict[str, Targets]:
    """Return the active and inactive genes of each compound that has an active one on the map.

    Active: a potency up to `active_um`. Inactive: every other gene of the table, for which this
    compound has a potency above `inactive_um` or none. What lies between is neither.
    """
    place = pl.DataFrame({"gene": genes, "row": np.arange(len(genes))})
    on_map = table.join(place, on="gene")
    library = np.sort(on_map["row"].unique().to_numpy())
    targets: dict[str, Targets] = {}
    for (compound,), listed in on_map.sort("row").group_by("compound", maintain_order=True):
        rows, potency = listed["row"].to_numpy(), listed["activity_um"].to_numpy()
        if (potency <= active_um).any():
            inactive = np.setdiff1d(library, rows[potency <= inactive_um])
            targets[str(compound)] = Targets(rows[potency <= active_um], inactive)
    return dict(sorted(targets.items()))
