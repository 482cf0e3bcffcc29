"""Crops of another scale, against PIL and closed forms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from phenomae.crops.resample import resample

DTYPES = ["uint8", "uint16"]


def random_crops(dtype: str, side: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, np.iinfo(dtype).max, (3, 2, side, side), dtype=dtype, endpoint=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("side", [21, 32, 50, 83])
def test_it_is_what_pil_makes_of_each_plane(dtype: str, side: int) -> None:
    crops = random_crops(dtype, side)
    found = resample(crops, 32)
    assert found.dtype == crops.dtype
    assert found.shape == (3, 2, 32, 32)
    for plane, ours in zip(crops.reshape(-1, side, side), found.reshape(-1, 32, 32), strict=True):
        image = Image.fromarray(plane.astype(np.float32))
        theirs = np.asarray(image.resize((32, 32), Image.Resampling.BILINEAR))
        np.testing.assert_allclose(ours, theirs, atol=0.5 + 0.01)


def test_one_pixel_of_two_weighs_four_by_1_3_3_1() -> None:
    crop = np.zeros((1, 1, 16, 16), dtype=np.uint16)
    crop[:, :, :, 6] = 800
    np.testing.assert_array_equal(resample(crop, 8)[0, 0, 3], [0, 0, 100, 300, 0, 0, 0, 0])
    crop[:, :, :, 7] = 800
    np.testing.assert_array_equal(resample(crop, 8)[0, 0, 3], [0, 0, 100, 600, 100, 0, 0, 0])


def test_what_is_finer_than_the_new_pixels_does_not_come_back_as_something_coarse() -> None:
    """Stripes of 2.5 pixels at a third of the resolution: taking every third pixel aliases."""
    wave = np.cos(2 * np.pi * np.arange(192) / 2.5)
    crop = np.broadcast_to(np.round(1000 + 900 * wave), (1, 1, 192, 192)).astype(np.uint16)
    assert crop[..., ::3].std() > 600
    assert resample(crop, 64)[..., 4:-4].std() < 30


@settings(deadline=None)  # a busy machine takes longer now and then
@given(st.sampled_from(DTYPES), st.integers(2, 40), st.integers(2, 40), st.integers(0, 99))
def test_nothing_overshoots(dtype: str, side: int, size: int, seed: int) -> None:
    crops = random_crops(dtype, side, seed)
    found = resample(crops, size)
    axes = (2, 3)
    assert (found.min(axes) >= crops.min(axes)).all()
    assert (found.max(axes) <= crops.max(axes)).all()
    flat = np.full_like(crops, 201)
    assert (resample(flat, size) == 201).all()


def test_crops_of_the_size_are_left_alone() -> None:
    crops = random_crops("uint16", 24)
    assert resample(crops, 24) is crops
