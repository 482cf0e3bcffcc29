"""Reads tables of compound potencies and divides genes into active and inactive targets."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Int

from phenomae.evaluation.csv_lists import read_csv_list
from phenomae.progress import count_of

COLUMNS = ("compound", "gene", "activity_um")


@dataclass(frozen=True)
class Targets:
    """Active and inactive genes of one compound, as row indices of the map of genes."""

    active: Int[np.ndarray, " a"]
    inactive: Int[np.ndarray, " i"]
    """Genes of the table of potencies on which the compound acts only at a high concentration, or
    for which the compound has no potency."""


def read_potencies(path: Path) -> pl.DataFrame:
    """Read compound, gene and activity_um from a CSV file; repeated pairs keep the lowest value.

    `activity_um` is the concentration in micromolar at which the compound acts (IC50, Kd, ...).
    Raises ValueError if the file is missing, lacks a column, or has a potency that is not a number
    above 0.
    """
    table = read_csv_list(path, COLUMNS, "potencies")
    # strict=False: text that is not a number becomes null, and the error below names its row.
    potency = table.select(pl.col("activity_um").cast(pl.Float64, strict=False)).to_series()
    invalid = ~(potency.is_finite() & (potency > 0)).fill_null(False)
    if invalid.any():
        compound, gene, value = table.filter(invalid).row(0)
        raise ValueError(
            f"{path} has {count_of(int(invalid.sum()), 'row')} whose activity_um is not a number "
            f"above 0, the first is {compound} on {gene}: {value!r}"
        )
    return (
        table.with_columns(potency)
        .drop_nulls()
        .group_by("compound", "gene")
        .agg(pl.col("activity_um").min())
        # polars returns groups in random order.
        .sort("compound", "gene")
    )


def find_targets(
    table: pl.DataFrame, genes: list[str], active_um: float, inactive_um: float
) -> dict[str, Targets]:
    """Return the targets of each compound that has an active gene on the map.

    Active: potency at most `active_um`. Inactive: every other gene of the table for which the
    compound has a potency above `inactive_um` or none. Genes with a
    potency between the two limits are neither active nor inactive.
    """
    rows_of_genes = pl.DataFrame({"gene": genes, "row": np.arange(len(genes))})
    on_map = table.join(rows_of_genes, on="gene")
    # Only genes of the table count as inactive. Otherwise a map that merely separates druggable
    # genes from all other genes would get a high score.
    library = np.sort(on_map["row"].unique().to_numpy())
    targets: dict[str, Targets] = {}
    for (compound,), listed in on_map.sort("row").group_by("compound", maintain_order=True):
        rows, potency = listed["row"].to_numpy(), listed["activity_um"].to_numpy()
        if (potency <= active_um).any():
            inactive = np.setdiff1d(library, rows[potency <= inactive_um])
            targets[str(compound)] = Targets(rows[potency <= active_um], inactive)
    return dict(sorted(targets.items()))
