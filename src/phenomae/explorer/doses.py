"""The wells of a compound by concentration, with their distance to the controls of their plates."""

import polars as pl

from phenomae.explorer.inputs import Inputs


def doses_of_row(inputs: Inputs, row: str) -> tuple[list[str], pl.DataFrame]:
    """Return the compounds of a row of the map, and the wells of the first by concentration.

    The table has the columns concentration_um, distance (to the controls of the plate, in units of
    a typical control; see `plate_views`), plate and well; it is empty if the wells of the row have
    no compound, or the compound no concentrations. Concentrations of 0 are left out, because the
    axis is logarithmic.
    """
    wells, plates = inputs.wells, inputs.on_map.plates
    empty = pl.DataFrame(
        schema={
            "concentration_um": pl.Float64,
            "distance": pl.Float64,
            "plate": pl.String,
            "well": pl.String,
        }
    )
    if wells is None or plates is None:
        return [], empty
    named = wells.filter(pl.col("name") == row, pl.col("compound") != "")
    compounds = named["compound"].unique(maintain_order=True).to_list()
    if not compounds:
        return [], empty
    keys = ["plate", "well"]
    its = wells.filter(pl.col("compound") == compounds[0], pl.col("concentration_um") > 0)
    distances = plates.wells.select(*keys, "distance")
    joined = its.select("concentration_um", *keys).join(distances, on=keys, how="left")
    return compounds, joined.select("concentration_um", "distance", *keys).sort(
        "concentration_um", "plate", "well"
    )


def median_by_dose(wells: pl.DataFrame) -> pl.DataFrame:
    """Return one row per concentration: concentration_um, wells, and the median distance."""
    return wells.group_by("concentration_um", maintain_order=True).agg(
        wells=pl.len(), distance=pl.col("distance").median()
    )
