"""Pictures of fields, beside the formula in float64."""

import numpy as np
import pytest

from phenomae.store.display import compose, to_rgb

COLORS = ["0000FF", "00FF00", "FF8000"]


@pytest.mark.parametrize(("dtype", "high"), [(np.uint8, 255), (np.uint16, 5000)])
def test_pictures_are_the_sum_of_levels_times_colors(dtype: type, high: int):
    pixels = np.random.default_rng(0).integers(0, high, (3, 40, 60)).astype(dtype)
    windows = np.array([[0, high], [high / 4, high / 2], [10.5, high / 3]])
    low, top = windows.T[:, :, None, None]
    levels = np.clip((pixels.astype(np.float64) - low) / (top - low), 0, 1)
    rgb = np.array([[0, 0, 1], [0, 1, 0], [1, 128 / 255, 0]])
    expected = 255 * np.clip(np.einsum("chw,ck->hwk", levels, rgb), 0, 1)
    picture = compose(pixels, windows, to_rgb(COLORS))
    assert picture.dtype == np.uint8
    assert np.abs(picture - expected).max() <= 0.5 + 1e-3


def test_no_channels_are_black():
    pixels = np.ones((3, 4, 5), np.uint16)
    picture = compose(pixels[:0], np.zeros((0, 2)), to_rgb([]))
    assert picture.shape == (4, 5, 3)
    assert not picture.any()


def test_an_empty_window_divides_by_no_zero():
    pixels = np.array([[[4, 5, 6]]], np.uint16)
    [[dark, same, light]] = compose(pixels, np.array([[5.0, 5.0]]), to_rgb(["FFFFFF"])).tolist()
    assert [dark, same, light] == [[0] * 3, [0] * 3, [255] * 3]
