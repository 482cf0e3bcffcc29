"""Scales profiles of wells or of a map to length 1, so that inner products are cosines.

A profile of zeros has no direction and so no cosine. `unit_rows` leaves such profiles unchanged;
`unit_wells` and `unit_map` raise ValueError.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Float64

from phenomae.maps.read import ConsensusProfiles
from phenomae.progress import count_of, info

_MIN_ROWS = 4  # of a graph or a layout of neighbors
_EQUAL = 1e-9  # rows are alike if 1 - cosine is less


def unit_rows(features: Float[np.ndarray, "n d"]) -> Float64[np.ndarray, "n d"]:
    """Return the rows scaled to length 1; rows of zeros stay zero."""
    rows = features.astype(np.float64)
    # einsum, because np.linalg.norm would copy the rows.
    lengths = np.sqrt(np.einsum("nd,nd->n", rows, rows))[:, None]
    return np.divide(rows, lengths, out=rows, where=lengths > 0)


def unit_wells(
    features: Float[np.ndarray, "n d"],
    table: pl.DataFrame,
    source: Path,
    used: Bool[np.ndarray, " n"] | None = None,
) -> Float64[np.ndarray, "n d"]:
    """Return the wells' profiles scaled to length 1.

    Raises ValueError if a well in `used` (default: any well) is NaN, infinite or all 0.
    """
    invalid = _lacks_direction(features)
    if used is not None:
        invalid &= used
    if invalid.any():
        plate, well = table.select("plate", "well").row(int(np.flatnonzero(invalid)[0]))
        raise ValueError(
            f"{source} has {count_of(int(invalid.sum()), 'well')} with a profile that is NaN, "
            f"infinite or all 0 and has no cosine, first plate {plate}, well {well}: leave them out"
        )
    return unit_rows(features)


def unit_map(profiles: ConsensusProfiles, source: Path) -> Float64[np.ndarray, "g d"]:
    """Return the profiles of a map scaled to length 1.

    Raises ValueError if a row is NaN, infinite or all 0, or two rows have the same name.
    """
    require_directions(profiles, source)
    return unit_rows(profiles.features)


def require_directions(profiles: ConsensusProfiles, source: Path) -> None:
    """Raise ValueError if a row is NaN, infinite or all 0, or two rows have the same name."""
    if twice := [name for name, count in Counter(profiles.names).items() if count > 1]:
        raise ValueError(f"{source} has {twice[0]} more than once: expected one row per name")
    require_directions_of(profiles.features, profiles.names, source)


def require_directions_of(
    features: Float[np.ndarray, "n d"], names: Sequence[str], source: Path
) -> None:
    """Raise ValueError if a row is NaN, infinite or all 0."""
    if rows := np.flatnonzero(_lacks_direction(features)).tolist():
        shown = ", ".join(names[row] for row in rows[:5])
        raise ValueError(
            f"{source} has rows that are NaN, infinite or all 0 and have no cosine: "
            f"{shown} ({len(rows)} in total); leave them out of the map"
        )


def require_different(unit: Float64[np.ndarray, "g d"], source: Path, needs: str) -> None:
    """Raise ValueError if a map has fewer than 4 rows, or rows that are all alike.

    `needs` is who needs more, like `a layout needs`.
    """
    if len(unit) < _MIN_ROWS:
        raise ValueError(f"{source} has {count_of(len(unit), 'row')}: {needs} {_MIN_ROWS} or more")
    if (unit @ unit[0] > 1 - _EQUAL).all():
        raise ValueError(f"the rows of {source} are all alike: {needs} rows that differ")


def limit_neighbors(count: int, rows: int, source: Path) -> int:
    """Return a number of neighbors, the row itself included, that a map of few rows has.

    Prints the number if it is less than `count`.
    """
    if count < rows:
        return count
    info(f"n_neighbors is {rows - 1}, because {source} has only {rows} rows")
    return rows - 1


def _lacks_direction(features: Float[np.ndarray, "n d"]) -> Bool[np.ndarray, " n"]:
    return np.asarray(~np.isfinite(features).all(axis=1) | ~features.any(axis=1))
