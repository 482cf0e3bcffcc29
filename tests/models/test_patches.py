"""Patches, positions and self-standardisation against their formulas in plain numpy."""

import inspect
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from phenomae.models.network import to_unit
from phenomae.models.vit.patches import patchify, sincos_positions, standardise, unpatch

RNG = np.random.default_rng(0)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 3), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(1, 5)
)
def test_unpatch_undoes_patchify(crops: int, channels: int, rows: int, columns: int, side: int):
    images = torch.rand(crops, channels, rows * side, columns * side)
    patches = patchify(images, side)
    assert torch.equal(unpatch(patches, (rows, columns), side), images)
    assert patches.shape == (crops, rows * columns, side * side * channels)


def test_pixels_of_a_patch_run_over_rows_then_columns_then_channels():
    images = RNG.random((2, 3, 8, 12)).astype(np.float32)
    patches = patchify(torch.from_numpy(images), 4).numpy()
    expected = images[1, :, 4:8, 8:12].transpose(1, 2, 0).reshape(-1)
    np.testing.assert_array_equal(patches[1, 5], expected)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_every_channel_of_every_crop_gets_mean_0_and_variance_1(dtype: str):
    pixels = RNG.integers(0, 60, (3, 4, 16, 24)).astype(np.uint8)
    given_pixels = pixels if dtype == "uint8" else (pixels / 255).astype(np.float32)
    unit = pixels / 255.0
    mean = unit.mean((2, 3), keepdims=True)
    expected = (unit - mean) / np.sqrt(unit.var((2, 3), keepdims=True) + 1e-5)
    found = standardise(torch.from_numpy(given_pixels)).numpy()
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_a_flat_channel_becomes_zero():
    assert standardise(torch.full((1, 2, 8, 8), 77, dtype=torch.uint8)).abs().max() == 0


@pytest.mark.parametrize("function", [standardise, to_unit])
@pytest.mark.parametrize("dtype", [torch.int32, torch.uint16, torch.bool])
def test_pixels_of_unknown_range_are_refused(function: Callable, dtype: torch.dtype):
    with pytest.raises(
        ValueError, match=f"pixels must be uint8, or floats from 0 to 1, not {dtype}"
    ):
        # where types are not checked
        inspect.unwrap(function)(torch.zeros(1, 1, 8, 8, dtype=dtype))


def test_pixels_become_floats_in_unit_range():
    pixels = RNG.integers(0, 256, (2, 3, 4, 4)).astype(np.uint8)
    found = to_unit(torch.from_numpy(pixels)).numpy()
    np.testing.assert_array_equal(found, pixels.astype(np.float32) / np.float32(255))
    np.testing.assert_array_equal(to_unit(torch.from_numpy(found)), found)


def test_positions_follow_the_formula():
    table = sincos_positions((3, 5), 16).numpy()
    assert table.shape == (16, 16)
    assert np.abs(table[0]).max() == 0
    row, column, quarter = 2, 3, 4
    for i in range(quarter):
        rate = 10000 ** (-i / quarter)
        expected = [f(place * rate) for place in (row, column) for f in (math.sin, math.cos)]
        found = table[1 + row * 5 + column, [i, quarter + i, 2 * quarter + i, 3 * quarter + i]]
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_positions_of_a_rectangle_are_those_of_a_square_cut_off():
    square = sincos_positions((6, 6), 8)[1:].reshape(6, 6, 8)
    assert torch.equal(sincos_positions((2, 6), 8)[1:], square[:2].reshape(-1, 8))
