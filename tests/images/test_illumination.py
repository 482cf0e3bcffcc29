"""Illumination correction: the quotient of image and function, rounded and clipped."""

from pathlib import Path

import numpy as np
import pytest

from phenomae.images.fields import Place
from phenomae.images.pixels.illumination import divide


def save(folder: Path, values: np.ndarray, name: str = "light.npy") -> Place:
    np.save(folder / name, values)
    return Place(str(folder / name))


def test_pixels_are_divided_rounded_and_clipped(tmp_path: Path):
    pixels = np.array([[10, 11, 250], [0, 3, 65535]], np.uint16)
    light = np.array([[2.0, 2.0, 0.5], [0.5, 2.0, 0.5]])
    # Worked by hand; halves round to even, and 65535 / 0.5 is beyond uint16.
    expected = np.array([[5, 6, 500], [0, 2, 65535]], np.uint16)
    corrected = divide(pixels, save(tmp_path, light))
    np.testing.assert_array_equal(corrected, expected)
    assert corrected.dtype == np.uint16
    in_bytes = divide(
        pixels[:, :2].astype(np.uint8), save(tmp_path, np.full((2, 2), 0.01), "b.npy")
    )
    np.testing.assert_array_equal(in_bytes, [[255, 255], [0, 255]])


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (np.ones((3, 2)), r"has the shape \(3, 2\), but the image to be divided has \(2, 3\)"),
        (np.zeros((2, 3)), "must be a two-dimensional float array with values above 0"),
        (np.full((2, 3), np.nan), "must be a two-dimensional float array"),
        (np.ones((2, 3), int), "must be a two-dimensional float array"),
        (np.ones(3), "must be a two-dimensional float array"),
        (np.array([[None]]), "is not a readable .npy file"),
    ],
)
def test_functions_that_do_not_fit(tmp_path: Path, values: np.ndarray, sentence: str):
    with pytest.raises(ValueError, match=rf"light\.npy {sentence}"):
        divide(np.ones((2, 3), np.uint8), save(tmp_path, values))


def test_a_file_that_is_not_npy(tmp_path: Path):
    (tmp_path / "x.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(ValueError, match=r"x\.npy is not a readable \.npy file"):
        divide(np.ones((2, 3), np.uint8), Place(str(tmp_path / "x.npy")))


def test_a_function_that_is_replaced_is_read_anew(tmp_path: Path):
    pixels = np.full((2, 3), 8, np.uint16)
    for light in (1.0, 2.0):
        values = np.full((2, 3), light, "float32" if light == 1 else "float64")
        np.testing.assert_array_equal(divide(pixels, save(tmp_path, values)), pixels / light)
