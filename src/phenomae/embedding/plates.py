"""The plates of a store as a table of wells, and how their fields' vectors become a well's."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Float, Float32, Int64

from phenomae.records import PLATE_MAP_COLUMNS, WELL_COLUMNS
from phenomae.store.read import Store
from phenomae.wells import plate_path, write_plate


@dataclass(frozen=True)
class Plate:
    """One plate's wells and the fields they have."""

    name: str
    table: pl.DataFrame
    """One row a well, the columns of `records.WELL_COLUMNS`."""
    fields: Int64[np.ndarray, " m"]
    """Numbers of fields: their rows in fields.parquet."""
    well_of: Int64[np.ndarray, " m"]
    """Which row of `table` each field belongs to."""


def read_plates(store: Store) -> list[Plate]:
    """Return a store's plates; raises ValueError where it has none."""
    if store.fields.is_empty():
        raise ValueError(f"{store.path} holds no field to embed: ingest plates with images")
    return list_plates(store.fields.with_row_index("field"))


def list_plates(fields: pl.DataFrame) -> list[Plate]:
    """Return the plates of some fields of one store, whose numbers stand in the column `field`."""
    return [_plate(part) for part in fields.partition_by("plate", maintain_order=True)]


def write_missing_plates(
    folder: Path, plates: list[Plate], embed: Callable[[Plate], Float32[np.ndarray, "n d"]]
) -> None:
    """Write the wells of every plate whose file is not there yet; `embed` makes the vectors."""
    for plate in plates:
        if not plate_path(folder, plate.name).exists():
            write_plate(folder, plate.table, embed(plate))


def mean_per_well(
    vectors: Float[np.ndarray, "m d"], wells: Int64[np.ndarray, " m"], count: int
) -> Float32[np.ndarray, "n d"]:
    """Return the mean of the vectors of each of `count` wells, every vector weighing the same."""
    sums = np.zeros((count, vectors.shape[1]))
    np.add.at(sums, wells, vectors)
    return (sums / np.bincount(wells, minlength=count)[:, None]).astype(np.float32)


def _plate(fields: pl.DataFrame) -> Plate:
    wells = fields.group_by("well", maintain_order=True).agg(
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
