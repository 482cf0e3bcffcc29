"""Order statistics, single cosines and tails, tile by tile, against all cosines at once."""

import numpy as np
import pytest

from phenomae.evaluation.recall import tiles
from phenomae.evaluation.recall.cosines import is_marked, mark_tails, pair_cosines, scan
from phenomae.maps.unit_vectors import unit_rows

NONE = np.empty((0, 2), dtype=np.int64)


def all_pairs(count: int) -> np.ndarray:
    return np.argwhere(np.triu(np.ones((count, count)), k=1))


@pytest.fixture(params=[8, 24, 512])
def side(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Tiles smaller than the map, which they do not divide, and one that holds it."""
    monkeypatch.setattr(tiles, "SIDE", request.param)
    return request.param


@pytest.mark.usefixtures("side")
@pytest.mark.parametrize("offset", [0.0, 50.0])  # 50: all cosines within a few bins of 1
def test_order_statistics_against_a_full_sort(offset):
    unit = unit_rows(np.random.default_rng(0).normal(size=(41, 6)) + offset)
    wanted = np.sort((unit @ unit.T)[np.triu_indices(41, k=1)])
    ranks = np.array([819, 0, 410, 410, 7])
    np.testing.assert_allclose(scan(unit, ranks, NONE)[0], wanted[ranks], atol=1e-14)


@pytest.mark.usefixtures("side")
def test_repeated_cosines_are_counted():
    # One feature: 20 rows point up, 21 down. 210 + 190 pairs have the cosine 1, 420 have -1.
    unit = unit_rows(np.repeat([[3.0], [-0.1]], [20, 21], axis=0))
    found, _ = scan(unit, np.array([0, 419, 420, 819]), NONE)
    np.testing.assert_array_equal(found, [-1, -1, 1, 1])


@pytest.mark.usefixtures("side")
def test_pair_cosines_are_those_of_the_order_statistics():
    unit = unit_rows(np.random.default_rng(1).normal(size=(30, 5)))
    every = np.random.default_rng(2).permutation(all_pairs(30))
    ordered, found = scan(unit, np.arange(len(every)), every[:, ::-1])
    np.testing.assert_allclose(found, (unit[every[:, 0]] * unit[every[:, 1]]).sum(axis=1))
    assert (np.sort(found) == ordered).all()
    assert (pair_cosines(unit, every) == found).all()


@pytest.mark.usefixtures("side")
def test_marks_are_the_tails():
    unit = unit_rows(np.random.default_rng(3).normal(size=(45, 4)))
    pairs = np.random.default_rng(4).permutation(all_pairs(45))
    cosines = pair_cosines(unit, pairs)
    marked = is_marked(mark_tails(unit, -0.6, 0.7), pairs[:, ::-1])
    np.testing.assert_array_equal(marked, (cosines < -0.6) | (cosines > 0.7))


def test_long_work_tells_how_far_it_is(monkeypatch, capsys):
    monkeypatch.setattr(tiles, "SIDE", 8)
    unit = unit_rows(np.random.default_rng(5).normal(size=(808, 3)))
    wanted = np.sort((unit @ unit.T)[np.triu_indices(808, k=1)])
    found, _ = scan(unit, np.array([1000]), NONE)
    np.testing.assert_allclose(found, wanted[[1000]], atol=1e-14)
    told = capsys.readouterr().err
    assert "recall, pass 1 of 2: 5151/5151 tiles" in told
    assert "recall, pass 2 of 2: 5151/5151 tiles" in told
