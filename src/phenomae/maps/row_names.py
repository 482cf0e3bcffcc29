"""Names the row of the map that each well belongs to.

In a map by dose, concentrations are rounded to six significant digits first, so that rounding
errors in a plate map do not make two doses of one.
"""

import numpy as np
import polars as pl
from jaxtyping import Bool

from phenomae.maps.settings import MapSettings

CONTROL = "control"  # the row of control wells without a name
_DIGITS = 6  # significant digits of a concentration; smaller differences are rounding errors


def name_rows(table: pl.DataFrame, settings: MapSettings) -> pl.DataFrame:
    """Return the wells with a column `name`, their row of the map; null for wells in no row.

    Raises ValueError for a map by dose if a treated well has a compound and no concentration.
    """
    control = pl.col("control").fill_null(False)
    if settings.by == "dose":
        table, name = _round_doses(table.with_columns(control=control)), _dose_name()
    else:
        # An empty string is no name: tables from other software may have it for empty cells.
        name = pl.col(settings.by).replace("", None)
    if settings.controls:
        name = pl.when(control).then(name.fill_null(CONTROL)).otherwise(name)
    else:
        name = pl.when(~control).then(name)
    return table.with_columns(name=name, control=control)


def doses_of(table: pl.DataFrame) -> pl.DataFrame:
    """Return compound and concentration of each row of a map by dose, sorted by row name."""
    doses = table.group_by("name").agg(
        pl.col("compound").first().fill_null(""), pl.col("concentration_um").first()
    )
    return doses.sort("name").drop("name")


def in_large_rows(names: pl.Series, min_wells: int) -> Bool[np.ndarray, " n"]:
    """Return which wells have a name that at least `min_wells` wells share."""
    large = (pl.len().over("name") >= min_wells) & pl.col("name").is_not_null()
    return names.to_frame("name").select(large).to_series().to_numpy()


def _dose_name() -> pl.Expr:
    """Return `compound @ 1.5 uM`; only the compound for wells without a concentration."""
    compound, concentration = pl.col("compound").replace("", None), pl.col("concentration_um")
    text = concentration.map_elements(
        # Positional notation: a concentration of 0.00001 must not become 1e-05 in the name.
        lambda value: np.format_float_positional(value, trim="-"),
        return_dtype=pl.String,
    )
    return (
        pl.when(concentration.is_null()).then(compound).otherwise(compound + " @ " + text + " uM")
    )


def _round_doses(table: pl.DataFrame) -> pl.DataFrame:
    """Return the wells with concentrations rounded to `_DIGITS` significant digits.

    Raises ValueError if a treated well has a compound and no concentration of 0 or more.
    """
    concentration = pl.col("concentration_um")
    known = concentration.is_finite() & (concentration >= 0)
    # Controls need no concentration, because they are often untreated.
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
