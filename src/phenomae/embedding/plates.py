"""Lists the plates of a store as tables of wells, and averages vectors per well."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Float, Float32, Int64

from phenomae.records import PLATE_MAP_COLUMNS, WELL_COLUMNS
from phenomae.shared_artefacts import Units
from phenomae.store.read import Store
from phenomae.well_files import plate_path


@dataclass(frozen=True)
class Plate:
    """One plate: its wells and its fields."""

    name: str
    table: pl.DataFrame
    """One row per well, the columns of `records.WELL_COLUMNS`."""
    fields: Int64[np.ndarray, " m"]
    """Indices of the plate's fields: their rows in `Store.fields`."""
    well_of: Int64[np.ndarray, " m"]
    """For each of `fields`, the row of `table` with the field's well."""


def read_plates(store: Store) -> list[Plate]:
    """Return the plates of a store; raises ValueError if it has no field."""
    if store.fields.is_empty():
        raise ValueError(f"{store.path} has no field to embed: ingest plates with images")
    return list_plates(store.fields.with_row_index("field"))


def list_plates(fields: pl.DataFrame) -> list[Plate]:
    """Return the plates of fields of one store; the column `field` has the fields' indices."""
    return [_plate(part) for part in fields.partition_by("plate", maintain_order=True)]


def plate_units(plates: Sequence[Plate]) -> Units:
    """Return the plates as the units of work: one is done when its table is written."""
    return Units(
        [plate.name for plate in plates], lambda folder, name: plate_path(folder, name).exists()
    )


def mean_per_well(
    vectors: Float[np.ndarray, "m d"], wells: Int64[np.ndarray, " m"], count: int
) -> Float32[np.ndarray, "n d"]:
    """Return the unweighted mean of the vectors of each of `count` wells.

    `wells` are the indices of the wells of the vectors.
    """
    # Sums in float64: float32 would lose digits over the thousands of crops of a well.
    sums = np.zeros((count, vectors.shape[1]))
    # Not `sums[wells] += vectors`, which adds only one vector per well.
    np.add.at(sums, wells, vectors)
    return (sums / np.bincount(wells, minlength=count)[:, None]).astype(np.float32)


def _plate(fields: pl.DataFrame) -> Plate:
    wells = fields.group_by("well", maintain_order=True).agg(
        # `ingest` copies the plate map to every field, so the first field of a well suffices.
        *(pl.col(name).first() for name in PLATE_MAP_COLUMNS if name != "well"),
        pl.len().alias("sites"),
        pl.col("focus", "saturation", "foreground").mean(),
    )
    rows = {name: row for row, name in enumerate(wells["well"])}
    return Plate(
        name=fields["plate"][0],
        table=wells.select([pl.col(name).cast(kind) for name, kind in WELL_COLUMNS.items()]),
        fields=fields["field"].to_numpy().astype(np.int64),
        well_of=np.array([rows[name] for name in fields["well"]], dtype=np.int64),
    )
