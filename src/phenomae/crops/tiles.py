"""The grid of crops that covers a field when it is embedded.

Positions are whole pixels and depend on sizes only, so that every run embeds the same crops.
"""

from dataclasses import dataclass
from typing import Literal

Tiling = Literal["grid", "overlap"]


@dataclass(frozen=True)
class Tiles:
    """Positions of the crops of one field, in its own pixels."""

    tops: tuple[int, ...]
    """First row of each crop; crops are listed row by row."""
    lefts: tuple[int, ...]
    """First column of each crop."""
    left_out: int
    """Number of pixels of the field that are in no crop."""


def tile_field(height: int, width: int, size: int, tiling: Tiling = "grid") -> Tiles:
    """Cover a field with square crops of `size` pixels per side.

    `grid` places as many as fit side by side, centred, and leaves a margin out. `overlap` covers
    the whole field: if there is a margin, the crops start at the field's edge and one more, which
    overlaps its neighbour, ends at the opposite edge. Raises ValueError if the field is smaller
    than one crop.
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
    # Rows and columns are independent, so one function serves both.
    count, margin = divmod(length, size)
    if tiling == "overlap" and margin:
        return [*range(0, count * size, size), length - size]
    return [margin // 2 + index * size for index in range(count)]


def _covered(starts: list[int], size: int) -> int:
    return starts[-1] + size - starts[0]
