"""Which fields show a name of a map, and which control field of the same plate is beside each.

The choice is the same each time. Of a name, the well comes first whose profile has the highest
cosine with the name's consensus profile, and of a plate's controls the well that is nearest to
their mean: the most typical wells, not the most striking. Without wells they are in the order of
the store. A well is shown by its first field.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Float32, Float64, Int, UInt8

from phenomae.evaluation.neighbors.well_effects import MapWells
from phenomae.maps.cosine_order import EQUAL_DIGITS
from phenomae.maps.export_source import rows_of_map
from phenomae.maps.fields_of_rows import name_fields
from phenomae.maps.read import ConsensusProfiles
from phenomae.maps.unit_vectors import unit_rows
from phenomae.reporting.evidence.plate_views import distances_to_controls
from phenomae.store.display import compose, store_colors
from phenomae.store.read import Store, read_crops, windows

_ROWS_AT_ONCE = 4096
_WELL = ["plate", "well"]


@dataclass(frozen=True)
class Beside:
    """A field, and a control field of the same plate."""

    field: int
    """Row of the store's table of fields."""
    control: int | None
    """None if the plate has no other well that is a control."""


@dataclass(frozen=True)
class Cells:
    """The fields of a store that show the names of a map, and its controls."""

    store: Store
    wells: pl.DataFrame
    """One row per well with a field: plate, well, name (null for wells in no row of the map),
    control, field (the first of the well), cosine (with the consensus profile of its name) and
    distance (to the controls of its plate; see `plate_views`), null without wells."""

    def of(self, name: str, count: int = 1) -> list[Beside]:
        """Return up to `count` wells of a name, each with a control of its plate; empty if none."""
        own = self.wells.filter(pl.col("name") == name).sort(
            "cosine", "plate", "well", descending=[True, False, False], nulls_last=True
        )
        shown = own.select("plate", "well", "field").head(count)
        return [
            Beside(field, self._control_beside(plate, well))
            for plate, well, field in shown.iter_rows()
        ]

    @cached_property
    def _colors(self) -> Float32[np.ndarray, "c 3"]:
        return store_colors(self.store)

    def controls(self, plate: str) -> pl.DataFrame:
        """Return the control wells of a plate, the most typical first: the columns of `wells`."""
        here = self.wells.filter(pl.col("plate") == plate, pl.col("control"))
        return here.sort("distance", "well", nulls_last=True)

    def _control_beside(self, plate: str, well: str) -> int | None:
        others = self.controls(plate).filter(pl.col("well") != well)
        return None if others.is_empty() else int(others["field"][0])

    def describe(self, field: int) -> str:
        """Return plate, well and site of a field: `P1 B07, site 1`."""
        plate, well, site = self.store.fields.select("plate", "well", "site").row(field)
        return f"{plate} {well}, site {site}"

    def draw(self, field: int, side: int) -> UInt8[np.ndarray, "h w 3"]:
        """Return the picture of the center of a field, `side` stored pixels wide, or the field's.

        All channels are added in their colors, each through its intensity window, which is that of
        the plate: a field and a control of the same plate have the same contrast.
        """
        height, width = self.store.fields.select("height", "width").row(field)
        side = min(side, height, width)
        top, left = (height - side) // 2, (width - side) // 2
        [crop] = read_crops(self.store, [field], [top], [left], side)
        return compose(crop, windows(self.store, [field])[0], self._colors)


def find_cells(
    map_path: Path, profiles: ConsensusProfiles, store: Store, wells: MapWells | None = None
) -> Cells:
    """Return the fields of the names of a map, which has these consensus `profiles`.

    `wells` are those that the map was made from. Raises ValueError if the store has no field of a
    row of the map, or the wells of a row are not known.
    """
    fields = store.fields.with_row_index("field").with_columns(pl.col("field").cast(pl.Int64))
    if wells is None:
        named = name_fields(rows_of_map(map_path, profiles), store)
        on_map = pl.when(pl.col("name").is_in(profiles.names)).then("name")
        its = named.select(*_WELL, "control", "field", name=on_map)
        its = its.with_columns(cosine=pl.lit(None, pl.Float64), distance=pl.lit(None, pl.Float64))
    else:
        its = _describe_wells(profiles, wells).join(fields.select(*_WELL, "field"), on=_WELL)
    # The table of fields is sorted, so the first of a well is that of its first site.
    first = its.sort("field").unique(_WELL, keep="first", maintain_order=True)
    if first["name"].null_count() == len(first):
        raise ValueError(f"{store.path} has no field of a row of {map_path}: is it another screen?")
    control = pl.col("control").fill_null(False)
    return Cells(store, first.select(*_WELL, "name", control, "field", "cosine", "distance"))


def _describe_wells(profiles: ConsensusProfiles, wells: MapWells) -> pl.DataFrame:
    rows = wells.of_map.genes
    names = pl.Series(profiles.names, dtype=pl.String)[np.maximum(rows, 0)]
    cosines = _cosines_with_rows(wells.profiles.features, rows, unit_rows(profiles.features))
    return wells.profiles.table.select(*_WELL, "control").with_columns(
        name=pl.when(pl.Series(rows >= 0)).then(names),
        cosine=pl.Series(cosines).fill_nan(None),
        distance=distances_to_controls(wells.profiles).round(EQUAL_DIGITS),
    )


def _cosines_with_rows(
    features: Float32[np.ndarray, "n d"],
    rows: Int[np.ndarray, " n"],
    unit: Float64[np.ndarray, "g d"],
) -> Float64[np.ndarray, " n"]:
    """Return the cosine of each well with its row of the map; NaN for wells in no row."""
    cosines = np.full(len(rows), np.nan)
    inside = np.flatnonzero(rows >= 0)
    for start in range(0, len(inside), _ROWS_AT_ONCE):
        some = inside[start : start + _ROWS_AT_ONCE]
        own = unit_rows(features[some])
        cosines[some] = np.einsum("nd,nd->n", own, unit[rows[some]])
    return cosines.round(EQUAL_DIGITS)
