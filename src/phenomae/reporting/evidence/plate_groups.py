"""The rows of a map by the plates that their wells are on, and whether plates decide who is near.

Rows that are near each other because they share plates are a batch effect.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Float64

from phenomae.correction.batch_mixing import Predicted, predict_labels
from phenomae.evaluation.tier_wells import WellsOfMap

MAX_SETS = 20
"""Different sets of plates up to which rows are grouped by the set; else by one plate each."""


@dataclass(frozen=True)
class PlateGroups:
    """The group of each row of a map, by its plates."""

    labels: list[str]
    are_sets: bool
    """Whether a group has all plates of its rows (`P1 + P2`); else it is the plate with most of the
    wells of a row."""
    predicted: Predicted
    """Groups of rows as their five nearest rows predict them."""


def group_by_plates(of_map: WellsOfMap, unit: Float64[np.ndarray, "g d"]) -> PlateGroups | None:
    """Return the groups of the rows of a map; None if all are on the same plates.

    `unit` has the profiles of the rows, of length 1.
    """
    on_map = pl.Series("row", of_map.genes)
    wells = of_map.files.table.select("plate").with_columns(on_map).filter(pl.col("row") >= 0)
    counts = wells.group_by("row", "plate").len("wells")
    # Of plates with as many wells of a row, the first by name.
    ordered = counts.sort("row", "wells", "plate", descending=[False, True, False])
    rows = ordered.group_by("row", maintain_order=True).agg(
        pl.col("plate").sort().str.join(" + ").alias("set"), pl.col("plate").first().alias("most")
    )
    sets, most = rows["set"], rows["most"]
    if sets.n_unique() == 1:
        return None
    are_sets = sets.n_unique() <= MAX_SETS
    if not are_sets and most.n_unique() == 1:
        return None
    labels = (sets if are_sets else most).to_list()
    return PlateGroups(labels, are_sets, predict_labels(unit, np.array(labels)))
