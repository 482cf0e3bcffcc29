"""The grid of crops that covers a field for `embed` and `features`.

Positions are whole pixels and depend only on the sizes of field and crop.
"""

from dataclasses import dataclass
from typing import Literal

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


def tile_field(height: int, width: int, size: int, tiling: Tiling = "grid") -> Tiles:
    """Return positions of square crops of `size` pixels per side that cover a field.

    `grid` places as many crops as fit side by side, centred in the field, and leaves out a margin.
    `overlap` covers the whole field: in each direction with a margin, crops start at the top or
    left edge, and one more crop, which overlaps its neighbour, ends at the opposite edge. Raises
    ValueError if the field is smaller than one crop.
    """
    if min(height, width) < size:
        raise ValueError(
            f"a field of {height} x {width} pixels is smaller than one crop of {size} x {size}"
        )
    rows, columns = _starts(height, size, tiling), _starts(width, size, tiling)
    covered = _covered(rows, size) * _covered(columns, size)
    return Tiles(
        tops=tuple(top for top in rows for _ in columns),
        lefts=tuple(left for _ in rows for left in columns),
        left_out=height * width - covered,
    )


def _starts(length: int, size: int, tiling: Tiling) -> list[int]:
    # For one axis: the positions of rows and of columns are independent of each other.
    count, margin = divmod(length, size)
    if tiling == "overlap" and margin:
        return [*range(0, count * size, size), length - size]
    return [margin // 2 + index * size for index in range(count)]


def _covered(starts: list[int], size: int) -> int:
    return starts[-1] + size - starts[0]
