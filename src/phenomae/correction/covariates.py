"""Covariates: numbers per well, such as cell count or position, whose effect can be regressed out.

Covariates are few, so those of all wells are held in memory beside the table of the wells.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl
from jaxtyping import Float64, Int, Shaped

from phenomae.correction.batches import Batches, each_batch, read_batches
from phenomae.wells import Profiles, read_wells, require_finite

_MAX_NAMES = 5  # wells named in an error message; further wells are only counted


@dataclass(frozen=True)
class Covariates:
    """Covariates of some wells, and the plates of these wells."""

    values: Float64[np.ndarray, "n q"]
    plates: Shaped[np.ndarray, " n"]
    """Plate of each well as the text of `batches.read_batches`: `plate P1`."""

    def __getitem__(self, rows: Shaped[np.ndarray, " m"]) -> Self:
        """Return the covariates of the wells in `rows`: row numbers, or a bool per well."""
        return type(self)(self.values[rows], self.plates[rows])

    def each_plate(self) -> Iterator[tuple[str, Int[np.ndarray, " m"]]]:
        """Yield each plate and the row numbers of its wells, sorted by plate name."""
        return each_batch(self.plates, len(self.plates))


StepInput = Batches | Covariates
"""What a correction needs to know about wells beside their features: batches, or covariates."""


def plate_labels(table: pl.DataFrame) -> Shaped[np.ndarray, " n"]:
    """Return the plate of each well as text, as `Covariates.plates` holds it."""
    labels = read_batches(table, "plate")
    assert labels is not None
    return labels


def read_counts(path: Path) -> Profiles:
    """Read a wells folder of few features, the counts of each well.

    Raises ValueError if it is no wells folder or a feature is NaN or infinite.
    """
    counts = read_wells(path)
    require_finite(counts, path)
    return counts


def match_counts(table: pl.DataFrame, counts: Profiles) -> Float64[np.ndarray, "n q"]:
    """Return the counts of the wells in `table`, matched by plate and well.

    Raises ValueError, naming up to five wells, if wells have no counts.
    """
    places = counts.table.select("plate", "well").with_row_index("place")
    found = table.select("plate", "well").join(
        places, on=["plate", "well"], how="left", maintain_order="left"
    )
    if rows := found.filter(pl.col("place").is_null()).select("plate", "well").rows():
        names = ", ".join(f"{plate} {well}" for plate, well in rows[:_MAX_NAMES])
        more = f" and {len(rows) - _MAX_NAMES} more" if len(rows) > _MAX_NAMES else ""
        raise ValueError(
            f"counts has no row for wells {names}{more}: expected a wells folder with counts of "
            "every well to correct, by the same names of plates and wells"
        )
    return counts.features[found["place"].to_numpy()].astype(np.float64)
