"""Power slope and brightest object against spectra that are made, scipy and all windows at once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from scipy.stats import linregress

from phenomae.quality.pixels import brightest_object, power_slope


def random_field(slope: float, size: int, seed: int) -> np.ndarray:
    """A random image whose power falls with frequency to the power of `slope`, as uint16."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None])
    frequency[0, 0] = 1
    spectrum = np.fft.fft2(rng.normal(size=(size, size))) * frequency ** (slope / 2)
    image = np.fft.ifft2(spectrum).real
    return np.rint(30_000 + 5_000 * image / image.std()).clip(0, 65535).astype(np.uint16)


@pytest.mark.parametrize("slope", [0, -1, -2, -3])
@pytest.mark.parametrize("size", [256, 700])
def test_the_slope_is_that_of_the_spectrum_from_which_an_image_was_made(slope, size):
    assert power_slope(random_field(slope, size, seed=1)) == pytest.approx(slope, abs=0.12)


@pytest.mark.parametrize("size", [61, 64])
def test_the_slope_by_the_formula_pixel_by_pixel_and_scipys_regression(size):
    image = random_field(-2, size, seed=2)
    window = np.outer(np.hanning(size), np.hanning(size))
    power = np.abs(np.fft.fft2((image - image.mean()) * window)) ** 2
    rings = [[] for _ in range(size)]
    for row in range(size):
        for column in range(size):
            # Frequencies above half of the size are negative ones.
            distance = np.hypot(min(row, size - row), min(column, size - column))
            rings[round(distance)].append(power[row, column])
    frequencies = np.arange(1, size // 2 + 1)
    means = [np.mean(rings[k]) for k in frequencies]
    expected = linregress(np.log(frequencies), np.log(means)).slope
    assert power_slope(image) == pytest.approx(expected, rel=1e-3)


def test_the_slope_does_not_depend_on_brightness_or_offset():
    image = random_field(-2, 300, seed=3) // 4
    assert power_slope(image * 2 + 9000) == pytest.approx(power_slope(image), abs=1e-3)


@pytest.mark.parametrize("shape", [(50, 60), (1, 40), (3, 3)])
def test_what_has_no_spectrum_has_no_slope(shape):
    assert power_slope(np.full(shape, 7, np.uint8)) is None


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 9), st.integers(1, 30), st.integers(1, 30))
def test_the_brightest_object_is_the_best_of_all_windows(seed, side, height, width):
    image = np.random.default_rng(seed).integers(0, 250, (height, width), dtype=np.uint8)
    side_inside = min(side, height, width)
    windows = sliding_window_view(image, (side_inside, side_inside))
    assert brightest_object(image, side) == windows.min(axis=(2, 3)).max()


def test_objects_that_are_too_narrow_do_not_count():
    image = np.full((60, 60), 10, np.uint16)
    image[20, :] = image[40:47, 30:37] = 900
    image[5:13, 0:8] = 300
    assert brightest_object(image, 8) == 300
    assert brightest_object(image, 7) == 900
    assert brightest_object(image, 9) == 10
