"""Vectors of length 1, whose inner products are cosines: of wells, of the rows of a map."""

from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Float64

from phenomae.maps.read import ConsensusProfiles


def unit_rows(features: Float[np.ndarray, "n d"]) -> Float64[np.ndarray, "n d"]:
    """Return the rows scaled to length 1, whose inner products are cosines; rows of 0 stay 0."""
    rows = features.astype(np.float64)
    lengths = np.sqrt(np.einsum("nd,nd->n", rows, rows))[:, None]  # norm would copy all rows
    return np.divide(rows, lengths, out=rows, where=lengths > 0)


def unit_wells(
    features: Float[np.ndarray, "n d"],
    table: pl.DataFrame,
    source: Path,
    used: Bool[np.ndarray, " n"] | None = None,
) -> Float64[np.ndarray, "n d"]:
    """Return the wells' vectors scaled to length 1.

    Raises ValueError where one has no direction, of those that are `used` (None: of all).
    """
    broken = _lacks_direction(features)
    if used is not None:
        broken &= used
    if broken.any():
        plate, well = table.select("plate", "well").row(int(np.flatnonzero(broken)[0]))
        raise ValueError(
            f"{source} has {broken.sum()} wells that are NaN, infinite or nothing but 0, so "
            f"without a cosine, first plate {plate}, well {well}: leave these wells out"
        )
    return unit_rows(features)


def unit_map(genes: ConsensusProfiles, source: Path) -> Float64[np.ndarray, "g d"]:
    """Return the map's vectors scaled to length 1; raises ValueError as `require_directions`."""
    require_directions(genes, source)
    return unit_rows(genes.features)


def require_directions(genes: ConsensusProfiles, source: Path) -> None:
    """Raise ValueError where a row of a map has no direction, or two rows have one name."""
    if twice := [name for name, count in Counter(genes.names).items() if count > 1]:
        raise ValueError(f"{source} has {twice[0]} more than once: expected one row a name")
    if rows := np.flatnonzero(_lacks_direction(genes.features)).tolist():
        names = ", ".join(genes.names[row] for row in rows[:5])
        raise ValueError(
            f"{source} has rows that are NaN, infinite or nothing but 0, so without a cosine: "
            f"{names} ({len(rows)} of them); leave these out of the map"
        )


def _lacks_direction(features: Float[np.ndarray, "n d"]) -> Bool[np.ndarray, " n"]:
    return np.asarray(~np.isfinite(features).all(axis=1) | ~features.any(axis=1))
