"""Where a well lies on its plate, as a profile: what plate layout alone explains."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from phenomae.embedding.hand_made.kind import Kind
from phenomae.records import plate_shape, well_place


def describe_wells(wells: Sequence[str]) -> Float64[np.ndarray, "n 5"]:
    """Return row, column, their squares, and the distance to the edge of the plate in wells.

    Rows and columns are centred on the plate and have a range of -1 to 1. The plate is the smallest
    format, of 6 to 1,536 wells, that has all of these wells.
    """
    rows, columns = np.array([well_place(well) for well in wells]).T
    height, width = plate_shape(int(rows.max()) + 1, int(columns.max()) + 1)
    down, across = (2 * at / (side - 1) - 1 for at, side in ((rows, height), (columns, width)))
    edge = np.minimum.reduce([rows, height - 1 - rows, columns, width - 1 - columns])
    return np.stack([down, across, down**2, across**2, edge], axis=1).astype(np.float64)


KIND = Kind(from_wells=describe_wells)
