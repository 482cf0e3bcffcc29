"""The wells of each plate by row and column: cell number, focus, and distance to the controls.

No cells are counted: the share of bright pixels stands for the number of cells. It comes from the
table of fields that `ingest` measured, so that no pixel is read.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Bool, Float64

from phenomae.records import plate_shape, well_place
from phenomae.store.colors import find_dna_channel
from phenomae.store.read import Store
from phenomae.wells import Profiles

MEASURES = ("foreground", "focus", "distance")
MIN_CONTROLS = 2
"""Control wells of a plate that distances need."""
_WELL = ["plate", "well"]


@dataclass(frozen=True)
class PlateViews:
    """The wells of all plates with what is shown of them."""

    wells: pl.DataFrame
    """One row per well, sorted by plate, row and column: plate, well, row, column (from 0), control
    and `MEASURES`, which are null where they are unknown."""
    counted: str
    """What `foreground` is the share of: `bright pixels of DNA`, for example."""

    @property
    def plates(self) -> list[str]:
        """Names of the plates."""
        return self.wells["plate"].unique(maintain_order=True).to_list()

    @property
    def measured(self) -> list[str]:
        """Those of `MEASURES` that some well has: profiles of other software have no focus."""
        return [name for name in MEASURES if self.wells[name].count()]

    def grid(self, plate: str, measure: str) -> Float64[np.ndarray, "rows columns"]:
        """Return a measure of the wells of a plate; NaN where there is no well or no value."""
        part = self.wells.filter(pl.col("plate") == plate)
        grid = np.full(_shape(part), np.nan)
        values = part[measure].cast(pl.Float64).fill_null(np.nan).to_numpy()
        grid[part["row"].to_numpy(), part["column"].to_numpy()] = values
        return grid

    def controls(self, plate: str) -> Bool[np.ndarray, "rows columns"]:
        """Return which wells of a plate are controls."""
        part = self.wells.filter(pl.col("plate") == plate)
        grid = np.zeros(_shape(part), dtype=bool)
        grid[part["row"].to_numpy(), part["column"].to_numpy()] = part["control"].to_numpy()
        return grid

    def summary(self) -> pl.DataFrame:
        """Return one row per plate: plate, wells, controls, and the median of each measure.

        The median of `distance` is that of the wells that are no controls.
        """
        treated = pl.when(~pl.col("control"))
        return self.wells.group_by("plate", maintain_order=True).agg(
            pl.len().alias("wells"),
            pl.col("control").sum().alias("controls"),
            pl.col("foreground", "focus").median(),
            treated.then("distance").median().alias("distance"),
        )


def view_plates(profiles: Profiles, store: Store | None = None) -> PlateViews:
    """Return the wells of each plate with their measures.

    `foreground` is the share of pixels that are more than 5 standard deviations brighter than the
    background, mean of the fields: of the channel of DNA, if the store has one that is known by its
    name, else of the channel that has the most. It grows with the number and the size of the cells.
    `focus` is that of the worst channel relative to the median of the plate's fields (`qc`), mean
    of the fields. `distance` is `distances_to_controls`.
    """
    table = profiles.table.select(*_WELL, "control", "focus", "foreground").with_columns(
        control=pl.col("control").fill_null(False), distance=distances_to_controls(profiles)
    )
    counted = "bright pixels of the channel that has the most"
    if store is not None:
        table, counted = _measure_fields(table, store, counted)
    places = [well_place(well) for well in table["well"]]
    table = table.with_columns(
        row=pl.Series([row for row, _ in places], dtype=pl.Int64),
        column=pl.Series([column for _, column in places], dtype=pl.Int64),
    )
    return PlateViews(
        table.select(*_WELL, "row", "column", "control", *MEASURES).sort("plate", "row", "column"),
        counted,
    )


def distances_to_controls(profiles: Profiles) -> pl.Series:
    """Return the distance of each well's profile to the controls of its plate; null without two.

    It is the Euclidean distance to the mean of the plate's control profiles, divided by the median
    of the same distance of the controls, so that 1 is a typical control. The mean that a control is
    compared with is that of the other controls; otherwise it would contain the control itself.
    """
    control = profiles.table["control"].fill_null(False).to_numpy()
    distances = np.full(len(control), np.nan)
    codes = profiles.table["plate"].rank("dense").to_numpy()
    for code in np.unique(codes):
        wells = np.flatnonzero(codes == code)
        own = control[wells]
        if (count := int(own.sum())) < MIN_CONTROLS:
            continue
        features = profiles.features[wells].astype(np.float64)
        found = np.linalg.norm(features - features[own].mean(axis=0), axis=1)
        # x - (sum - x) / (n - 1) = (x - mean) n / (n - 1)
        found[own] *= count / (count - 1)
        if (unit := float(np.median(found[own]))) > 0:
            distances[wells] = found / unit
    return pl.Series("distance", distances).fill_nan(None)


def _measure_fields(table: pl.DataFrame, store: Store, counted: str) -> tuple[pl.DataFrame, str]:
    """Return the wells with focus and foreground of the store's fields, and what it is of."""
    foreground = pl.col("foreground")
    if (channel := find_dna_channel(store.channels)) is not None:
        foreground = pl.col("channel_foreground").list.get(channel, null_on_oob=True)
        counted = f"bright pixels of {store.channels[channel]}"
    measured = store.fields.group_by(_WELL).agg(
        pl.col("focus").mean(), foreground.mean().alias("foreground")
    )
    own = table.drop("focus", "foreground")
    return own.join(measured, on=_WELL, how="left", maintain_order="left"), counted


def _shape(part: pl.DataFrame) -> tuple[int, int]:
    rows, columns = (int(part[name].max()) + 1 for name in ("row", "column"))  # pyright: ignore[reportArgumentType]
    return plate_shape(rows, columns)
