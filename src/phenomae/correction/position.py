"""Position: regresses out where on the plate a well is.

Row and column with their squares, and the distance to the edge: five covariates, few enough for the
controls of a few plates. They describe a tilt, a bowl and an edge, and no single row or column.
The distance stops at two wells, because evaporation acts on the outermost wells: in idr0028 this
explains .131 of the controls' features on unseen plates, the full distance .111, none .113.
"""

from typing import Self

import numpy as np
import polars as pl
from jaxtyping import Float64, Int

from phenomae.correction.correction import State
from phenomae.correction.regression import Regression
from phenomae.records import normalize_well, plate_shape, well_place
from phenomae.wells import Profiles

Place = Int[np.ndarray, "n 2"]
"""Row and column of each well, counted from 0."""
ROW, COLUMN = slice(0, 2), slice(2, 4)
"""Where `position_terms` has the terms of row and of column."""


class Position(Regression):
    """Subtracts what row, column and distance to the edge explain of the controls' features."""

    name = "position"

    shape_: tuple[int, int]
    """Rows and columns of the plates."""

    def measure(
        self, table: pl.DataFrame, counts: Profiles | None = None
    ) -> Float64[np.ndarray, "n 5"]:
        """Return the terms of position of the wells in `table`; `counts` is not used.

        A position that is not fitted takes the format of the plates from these wells. Raises
        ValueError if a well's name is not a well, or not on the plates that the position was fitted
        on.
        """
        places = locate_wells(table)
        if not hasattr(self, "shape_"):
            self.shape_ = plate_shape(*(places.max(axis=0) + 1).tolist())
        rows, columns = self.shape_
        beyond = (places >= self.shape_).any(axis=1)
        if beyond.any():
            raise ValueError(
                f"position was fitted on plates of {rows} rows and {columns} columns, which have "
                f"no well {table['well'][int(beyond.argmax())]}: expected plates of that format"
            )
        return position_terms(places, self.shape_)

    def state(self) -> State:
        """Return the fitted parameters as arrays by name."""
        return super().state() | {"shape": np.array(self.shape_)}

    def restore(self, state: State) -> Self:
        """Set the fitted parameters to the `state` of another position."""
        rows, columns = state["shape"].tolist()
        self.shape_ = rows, columns
        return super().restore(state)


def position_terms(places: Place, shape: tuple[int, int]) -> Float64[np.ndarray, "n 5"]:
    """Return row, row squared, column, column squared, and distance to the edge.

    Row and column run from -1 to 1 with 0 in the middle of the plate; the distance is 0 in the
    outermost wells, 1/2 in the next, and 1 in all others.
    """
    last = np.array(shape) - 1
    middle = np.maximum(last / 2, 0.5)  # a plate of a single row has all wells at -1
    row, column = ((places - middle) / middle).T
    distance = np.minimum(places, last - places).min(axis=1)
    return np.stack([row, row**2, column, column**2, np.minimum(distance / 2, 1)], axis=1)


def locate_wells(table: pl.DataFrame) -> Place:
    """Return row and column of the wells in `table`; raises ValueError if a name is not a well."""
    names, codes = np.unique(table["well"].to_numpy().astype(np.str_), return_inverse=True)
    try:
        places = [well_place(normalize_well(name)) for name in names.tolist()]
    except ValueError as error:
        raise ValueError(f"position: {error}") from None
    return np.array(places, dtype=np.int64).reshape(-1, 2)[codes]
