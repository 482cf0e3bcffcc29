"""Nuclei and cells against brute force, and counted in a field where they are known."""

import numpy as np
import pytest
from scipy import ndimage

from phenomae.embedding.hand_made.objects import find_nuclei, find_objects, grow


def draw_discs(
    discs: list[tuple[int, int, int]], side: int = 256, noise: float = 0.02
) -> np.ndarray:
    """Return a blurred image of discs (row, column, radius) on a dark background, with noise."""
    rows, columns = np.mgrid[:side, :side]
    image = np.full((side, side), 0.05)
    for row, column, radius in discs:
        image[(rows - row) ** 2 + (columns - column) ** 2 <= radius**2] = 0.8
    rng = np.random.default_rng(0)
    return ndimage.gaussian_filter(image, 1) + noise * rng.standard_normal(image.shape)


ALONE = [(30 + 48 * at, 40, 9 + at) for at in range(5)]
TOUCHING = [
    (40, 110, 11),
    (40, 129, 11),
    (110, 110, 9),
    (121, 121, 9),
    (180, 120, 13),
    (180, 143, 13),
]
CUT = [(2, 200, 10), (128, 253, 10)]


def test_known_nuclei_are_found_and_those_that_touch_are_divided():
    discs = ALONE + TOUCHING
    nuclei = find_nuclei(draw_discs(discs))
    assert nuclei.max() == len(discs)
    at_centres = [nuclei[row, column] for row, column, _ in discs]
    assert sorted(at_centres) == list(range(1, len(discs) + 1))
    areas = np.bincount(nuclei.ravel())[at_centres]
    np.testing.assert_allclose(areas, [np.pi * radius**2 for *_, radius in discs], rtol=0.2)


def test_nuclei_at_the_edge_are_left_out_with_their_cells():
    discs = ALONE + TOUCHING
    image = draw_discs(discs + CUT)
    assert find_nuclei(image).max() == len(discs) + len(CUT)
    objects = find_objects(image, 10)
    assert objects.nuclei.max() == objects.cells.max() == len(discs)
    for row, column, _ in discs:
        assert objects.nuclei[row, column] == objects.cells[row, column] > 0
    for row, column, _ in CUT:
        assert objects.cells[row, column] == 0
    inside = objects.nuclei > 0
    np.testing.assert_array_equal(objects.cells[inside], objects.nuclei[inside])


def test_cells_are_the_pixels_nearest_to_their_nucleus():
    nuclei = find_nuclei(draw_discs(ALONE + TOUCHING))
    cells = grow(nuclei, 8)
    away = np.stack(
        [ndimage.distance_transform_edt(nuclei != label) for label in range(1, nuclei.max() + 1)]
    )
    nearest = away.min(axis=0)
    np.testing.assert_array_equal(cells > 0, nearest <= 8)
    rows, columns = np.nonzero(cells)
    own = away[cells[rows, columns] - 1, rows, columns]
    np.testing.assert_array_equal(own, nearest[rows, columns])


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_objects_turn_with_the_image(turn: int):
    image = draw_discs(ALONE + TOUCHING + CUT)
    expected, found = find_objects(image, 10), find_objects(np.rot90(image, turn), 10)
    for name in ("nuclei", "cells"):
        labels, turned = getattr(expected, name), np.rot90(getattr(found, name), -turn)
        np.testing.assert_array_equal(labels > 0, turned > 0)
        pairs = np.unique(np.stack([labels.ravel(), turned.ravel()]), axis=1)
        assert pairs.shape[1] <= 1.5 * labels.max()  # a few pixels of seams may change sides


def test_specks_are_no_nuclei():
    image = draw_discs(ALONE)
    image[200:202, 100:102] = 0.8
    assert find_nuclei(image).max() == len(ALONE)


@pytest.mark.parametrize("side", [64, 256])
def test_noise_has_no_nuclei(side: int):
    """Otsu's threshold divides it in the middle, as it would an image of two levels."""
    rng = np.random.default_rng(0)
    assert not any(find_nuclei(rng.poisson(150, (side, side))).any() for _ in range(20))


def test_a_constant_image_has_no_objects():
    objects = find_objects(np.full((64, 64), 7.0), 10)
    assert not objects.nuclei.any()
    assert not objects.cells.any()
