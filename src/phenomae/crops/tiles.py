"""The grid of crops that covers a field for `embed` and `features`.

Positions are whole pixels and depend only on the sizes of field and crop.
"""

from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np

Tiling = Literal["grid", "overlap"]


@dataclass(frozen=True)
class Tiles:
    """Positions of the crops of one field, in stored pixels."""

    tops: tuple[int, ...]
    """First pixel row of each crop; crops are ordered row by row."""
    lefts: tuple[int, ...]
    """First pixel column of each crop."""
    left_out: int
    """Number of the field's pixels that are in no crop."""


def tile_field(
    height: int, width: int, size: int, tiling: Tiling = "grid", max_crops: int | None = None
) -> Tiles:
    """Return positions of square crops of `size` pixels per side that cover a field.

    `grid` places as many crops as fit side by side, centred in the field, and leaves out a margin.
    `overlap` covers the whole field: in each direction with a margin, crops start at the top or
    left edge, and one more crop, which overlaps its neighbour, ends at the opposite edge. Of more
    than `max_crops` crops, that many are used, spread over the field and the same in all fields of
    a size. Raises ValueError if the field is smaller than one crop.
    """
    if min(height, width) < size:
        raise ValueError(
            f"a field of {height} x {width} pixels is smaller than one crop of {size} x {size}"
        )
    rows, columns = _starts(height, size, tiling), _starts(width, size, tiling)
    corners = [(top, left) for top in rows for left in columns]
    if max_crops is not None and max_crops < len(corners):
        chosen = _spread(len(rows), len(columns), max_crops)
        corners = [(rows[row], columns[column]) for row, column in chosen]
    covered = np.zeros((height, width), dtype=bool)
    for top, left in corners:
        covered[top : top + size, left : left + size] = True
    tops, lefts = zip(*corners, strict=True)
    return Tiles(tops, lefts, left_out=int(np.count_nonzero(~covered)))


def _spread(rows: int, columns: int, count: int) -> list[tuple[int, int]]:
    """Return `count` places of a grid, row by row, that are spread over rows and columns alike."""
    # Evenly spaced places would lie in one column of most grids. A Kronecker sequence of the powers
    # of 1 / 1.3247, the root of x^3 = x + 1, fills the unit square evenly.
    steps = np.arange(4 * rows * columns)[:, None] * (0.7548776662466927, 0.5698402909980532)
    points = np.floor((0.5 + steps) % 1 * (rows, columns)).astype(int)
    # The points may miss a place, so that all places come after them.
    places = [*map(tuple, points.tolist()), *product(range(rows), range(columns))]
    return sorted(list(dict.fromkeys(places))[:count])


def _starts(length: int, size: int, tiling: Tiling) -> list[int]:
    # For one axis: the positions of rows and of columns are independent of each other.
    count, margin = divmod(length, size)
    if tiling == "overlap" and margin:
        return [*range(0, count * size, size), length - size]
    return [margin // 2 + index * size for index in range(count)]
