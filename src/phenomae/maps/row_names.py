"""Names the row of the map that each well belongs to.

Concentrations are rounded first: 0.1 and 0.1 + 1e-17 in a plate map are one dose.
"""

import numpy as np
import polars as pl
from jaxtyping import Bool

from phenomae.maps.settings import MapSettings

CONTROL = "control"  # the row of control wells that have no name of their own
_DIGITS = 6  # of a concentration: a difference beyond them is rounding error


def name_rows(table: pl.DataFrame, settings: MapSettings) -> pl.DataFrame:
    """Return the wells with a column `name`: their row of the map, null if they have none.

    Raises ValueError if rows are doses and a compound has no concentration.
    """
    control = pl.col("control").fill_null(False)
    if settings.by == "dose":
        table, name = _round_doses(table.with_columns(control=control)), _dose_name()
    else:
        name = pl.col(settings.by).replace("", None)
    if settings.controls:
        name = pl.when(control).then(name.fill_null(CONTROL)).otherwise(name)
    else:
        name = pl.when(~control).then(name)
    return table.with_columns(name=name, control=control)


def doses_of(table: pl.DataFrame) -> pl.DataFrame:
    """Return compound and concentration of each row of a map by dose, sorted by name."""
    doses = table.group_by("name").agg(
        pl.col("compound").first().fill_null(""), pl.col("concentration_um").first()
    )
    return doses.sort("name").drop("name")


def in_large_rows(names: pl.Series, min_wells: int) -> Bool[np.ndarray, " n"]:
    """Return which wells are in a row of at least `min_wells` wells; unnamed wells are in none."""
    large = (pl.len().over("name") >= min_wells) & pl.col("name").is_not_null()
    return names.to_frame("name").select(large).to_series().to_numpy()


def _dose_name() -> pl.Expr:
    """Return `compound @ 1.5 uM`; the compound alone where it has no concentration."""
    compound, concentration = pl.col("compound").replace("", None), pl.col("concentration_um")
    text = concentration.map_elements(
        # Never 1e-05: the name has to read like a concentration.
        lambda value: np.format_float_positional(value, trim="-"),
        return_dtype=pl.String,
    )
    return (
        pl.when(concentration.is_null()).then(compound).otherwise(compound + " @ " + text + " uM")
    )


def _round_doses(table: pl.DataFrame) -> pl.DataFrame:
    """Return the wells with concentrations rounded to `_DIGITS` digits.

    Raises ValueError if a well with a compound has none, unless it is a control.
    """
    concentration = pl.col("concentration_um")
    known = concentration.is_finite() & (concentration >= 0)
    # Controls are often untreated, so that a concentration would make no sense.
    treated = ~pl.col("control") & (pl.col("compound").fill_null("") != "")
    bare = table.filter(treated & ~known.fill_null(False))
    if len(bare):
        columns = ["compound", "plate", "well", "concentration_um"]
        compound, plate, well, value = bare.select(columns).row(0)
        raise ValueError(
            f"{len(bare)} wells have a compound and no concentration of 0 or more, first "
            f"{compound} on plate {plate}, well {well} ({value}): fill concentration_um in the "
            "plate map, map by compound, or leave them out with "
            'where "control OR concentration_um >= 0"'
        )
    rounded = pl.when(known).then(concentration.round_sig_figs(_DIGITS))
    return table.with_columns(concentration_um=rounded)
