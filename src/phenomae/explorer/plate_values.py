"""The wells of a plate with one value of each: what the view and the saved figure of it draw."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import polars as pl

from phenomae.explorer.inputs import Inputs
from phenomae.reporting.evidence.plate_views import PlateViews

_OUTLINE = "#d55e00"


def title_values(plates: PlateViews) -> dict[str, str]:
    """Return the values that wells have, each with its title."""
    titles = {
        "foreground": f"cell number, by the share of {plates.counted}",
        "focus": "focus, relative to the plate's fields",
        "distance": "distance to the plate's controls (1: a typical control)",
    }
    # Profiles of other software have no focus; without two controls there is no distance.
    return {name: titles[name] for name in plates.measured} or titles


def list_wells(inputs: Inputs, row: str, plate: str, value: str) -> dict[str, Any]:
    """Return the wells of a plate as columns, those of a row of the map with an outline.

    Columns: row (letters), column (text), value (NaN if it is not known), well, name, dot (the size
    of the mark of a control, else 0), outline (a color or None).
    """
    plates, wells = inputs.on_map.plates, inputs.wells
    assert plates is not None
    assert wells is not None
    part = plates.wells.filter(pl.col("plate") == plate)
    names = wells.filter(pl.col("plate") == plate).select("well", "name")
    part = part.join(names, on="well", how="left", maintain_order="left")
    return {
        "row": [well.rstrip("0123456789") for well in part["well"]],
        "column": [str(column + 1) for column in part["column"]],
        # NaN, because null, which is what None becomes, would be drawn as 0.
        "value": part[value].cast(pl.Float64).fill_null(np.nan).to_numpy(),
        "well": part["well"].to_list(),
        "name": part["name"].fill_null("").to_list(),
        "dot": [9 if control else 0 for control in part["control"]],
        "outline": [_OUTLINE if row and name == row else None for name in part["name"]],
    }


def list_axes(columns: Iterable[Any], rows: Iterable[Any]) -> tuple[list[str], list[str]]:
    """Return the columns of wells from left to right, and their rows from the bottom up."""
    across = sorted({int(column) for column in columns})
    upwards = sorted({str(row) for row in rows}, key=lambda row: (len(row), row))[::-1]
    return [str(column) for column in across], upwards


def explain_wells(inputs: Inputs, row: str, plate: str) -> str:
    """Return the sentence on what is marked on a plate."""
    if not row:
        return "Circles are controls. Search for a name: its wells are outlined."
    own = plates_of(inputs, row)
    if plate in own:
        return f"Circles are controls; the wells of {row} are outlined."
    return f"Circles are controls. {plate} has no well of {row}: its plates are {', '.join(own)}."


def plates_of(inputs: Inputs, row: str) -> list[str]:
    """Return the plates with wells of a row of the map."""
    assert inputs.wells is not None
    return inputs.wells.filter(pl.col("name") == row)["plate"].unique().sort().to_list()
