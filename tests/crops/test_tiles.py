"""The grid of crops that covers a field."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phenomae.crops.tiles import Tiling, tile_field


def test_the_grid_is_centred() -> None:
    tiles = tile_field(1080, 1080, 256)
    assert sorted(set(tiles.tops)) == [28, 284, 540, 796]
    assert sorted(set(tiles.lefts)) == [28, 284, 540, 796]
    assert len(tiles.tops) == 16
    assert tiles.left_out == 1080**2 - 1024**2


def test_overlap_moves_the_last_crop_to_the_edge() -> None:
    tiles = tile_field(100, 64, 64, "overlap")
    assert tiles.tops == (0, 36)
    assert tiles.lefts == (0, 0)
    assert tiles.left_out == 0


@given(
    st.integers(1, 60),
    st.integers(1, 60),
    st.integers(1, 20),
    st.sampled_from(["grid", "overlap"]),
    st.none() | st.integers(1, 50),
)
def test_left_out_is_what_no_crop_covers(
    height: int, width: int, size: int, tiling: Tiling, max_crops: int | None
) -> None:
    if min(height, width) < size:
        return
    tiles = tile_field(height, width, size, tiling, max_crops)
    every = tile_field(height, width, size, tiling)
    corners = list(zip(tiles.tops, tiles.lefts, strict=True))
    all_corners = list(zip(every.tops, every.lefts, strict=True))
    assert len(corners) == min(len(all_corners), max_crops or len(all_corners))
    assert sorted(set(all_corners) & set(corners)) == corners
    seen = np.zeros((height, width), dtype=int)
    for top, left in zip(tiles.tops, tiles.lefts, strict=True):
        assert 0 <= top <= height - size
        assert 0 <= left <= width - size
        seen[top : top + size, left : left + size] += 1
    assert tiles.left_out == (seen == 0).sum()
    if tiling == "grid":
        assert seen.max() == 1
    elif max_crops is None:
        assert tiles.left_out == 0


def test_a_field_smaller_than_a_crop_is_refused() -> None:
    with pytest.raises(ValueError, match="40 x 64 pixels is smaller than one crop of 64"):
        tile_field(40, 64, 64)


def test_a_few_crops_are_spread_over_the_field() -> None:
    tiles = tile_field(64, 64, 16, max_crops=4)
    assert len(set(tiles.tops)) == 4  # one in every row
    assert len(set(tiles.lefts)) >= 2
