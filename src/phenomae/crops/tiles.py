"""The grid of crops that covers a field when it is embedded."""

from dataclasses import dataclass
from typing import Literal

Tiling = Literal["grid", "overlap"]


@dataclass(frozen=True)
class Tiles:
    """Where the crops of one field lie."""

    tops: tuple[int, ...]
    """Row by row, one entry a crop."""
    lefts: tuple[int, ...]
    left_out: int
    """How many pixels of the field lie in no crop."""


def tile_field(height: int, width: int, size: int, tiling: Tiling = "grid") -> Tiles:
    """Lay square crops of `size` over a field.

    `grid` lays as many as fit side by side, centred, and leaves a rim out; `overlap` lays one more
    where a rim would be left, with the first and the last crop at the field's edges.
    Raises ValueError where the field is smaller than one crop.
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
    count, rim = divmod(length, size)
    if tiling == "overlap" and rim:
        return [*range(0, count * size, size), length - size]
    return [rim // 2 + index * size for index in range(count)]


def _covered(starts: list[int], size: int) -> int:
    return starts[-1] + size - starts[0]
