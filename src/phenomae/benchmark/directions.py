"""Vectors of length 1, whose inner products are cosines: of wells, of the rows of a map."""

from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Float64

from phenomae.benchmark.cosines import unit_rows
from phenomae.maps.read import Map


def unit_wells(
    features: Float[np.ndarray, "n d"], table: pl.DataFrame, source: Path
) -> Float64[np.ndarray, "n d"]:
    """Return the wells' vectors scaled to length 1; raises ValueError where one has no direction.

    That is a well whose features are all 0, or NaN or infinite somewhere.
    """
    if (broken := _has_no_direction(features)).any():
        plate, well = table.select("plate", "well").row(int(np.flatnonzero(broken)[0]))
        raise ValueError(
            f"{source} has {broken.sum()} wells whose features are NaN, infinite or all 0, first "
            f"plate {plate}, well {well}: leave these wells out"
        )
    return unit_rows(features)


def unit_map(genes: Map, source: Path) -> Float64[np.ndarray, "g d"]:
    """Return the map's vectors scaled to length 1.

    Raises ValueError where one has no direction, or two rows have one name.
    """
    if twice := [name for name, count in Counter(genes.names).items() if count > 1]:
        raise ValueError(f"{source} has {twice[0]} more than once: expected one row a name")
    if (broken := _has_no_direction(genes.features)).any():
        raise ValueError(
            f"{source} has {broken.sum()} rows whose features are NaN, infinite or all 0, first "
            f"{genes.names[int(np.flatnonzero(broken)[0])]}: leave these out of the map"
        )
    return unit_rows(genes.features)


def _has_no_direction(features: Float[np.ndarray, "n d"]) -> Bool[np.ndarray, " n"]:
    return np.asarray(~np.isfinite(features).all(axis=1) | ~features.any(axis=1))
