"""Tails from one pass, against a full sort and against the two passes of `find_tails`."""

import numpy as np
import pytest

from phenomae.evaluation.recall import one_pass, tiles
from phenomae.evaluation.recall.one_pass import find_in_tails
from phenomae.evaluation.recall.recall import find_tails
from phenomae.maps.unit_vectors import unit_rows

PERCENTILES = [(0.05, 0.95), (0.01, 0.9), (0.0, 1.0), (0.5, 0.5), (1.0, 1.0)]


def all_pairs(count: int) -> np.ndarray:
    return np.argwhere(np.triu(np.ones((count, count)), k=1))


@pytest.mark.parametrize("sample", [8, 60, 2048])
@pytest.mark.parametrize("width", [1, 2, 16])
@pytest.mark.parametrize("offset", [0.0, 50.0])
def test_the_tails_are_those_of_two_passes(monkeypatch, sample, width, offset):
    monkeypatch.setattr(one_pass, "_SAMPLE", sample)
    monkeypatch.setattr(tiles, "SIDE", 24)
    unit = unit_rows(np.random.default_rng(width).normal(size=(131, width)) + offset)
    pairs = np.random.default_rng(9).permutation(all_pairs(131))[:700, ::-1]
    tails, cosines = find_tails(unit, PERCENTILES, pairs)
    found = find_in_tails(unit, PERCENTILES, pairs)
    np.testing.assert_array_equal(found.tails.below, tails.below)
    np.testing.assert_array_equal(found.tails.above, tails.above)
    for which in range(len(PERCENTILES)):
        np.testing.assert_array_equal(found.found[:, which], tails.contain(cosines, which))


@pytest.mark.parametrize("shift", [-1, 1])
def test_a_bracket_that_misses_costs_time_and_changes_nothing(monkeypatch, shift):
    unit = unit_rows(np.random.default_rng(0).normal(size=(90, 5)))
    every = np.sort((unit @ unit.T)[np.triu_indices(90, k=1)])
    bracket = one_pass._bracket(unit, [(0.05, 0.95)])
    monkeypatch.setattr(one_pass, "_bracket", lambda *_: bracket + shift)
    found = find_in_tails(unit, [(0.05, 0.95)], all_pairs(90))
    # 4,005 pairs: 200.25 are 5 %, and the first of the highest 5 % is number 3,805 from 0.
    np.testing.assert_allclose(found.tails.below, every[200], atol=1e-14)
    np.testing.assert_allclose(found.tails.above, every[3804], atol=1e-14)


def test_many_equal_cosines_are_not_collected(monkeypatch):
    monkeypatch.setattr(one_pass, "_COLLECTED", 1000)
    unit = unit_rows(np.random.default_rng(0).normal(size=(90, 1)))
    assert (one_pass._bracket(unit, [(0.05, 0.95)])[:, 0] == np.inf).all()
    found = find_in_tails(unit, [(0.05, 0.95)], all_pairs(90))
    assert not found.found.any()  # every cosine is -1 or 1, so that none is beyond a threshold


def test_brackets_of_a_sample_hold_the_thresholds(monkeypatch):
    # Rows differ in how far they are from the others, so that a sample of rows is rarely fair.
    monkeypatch.setattr(one_pass, "_SAMPLE", 50)
    missed = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        features = rng.normal(size=(300, 8)) + rng.exponential(size=(300, 1)) * rng.normal(size=8)
        unit = unit_rows(features)
        every = np.sort((unit @ unit.T)[np.triu_indices(300, k=1)])
        brackets = one_pass._bracket(unit, [(0.05, 0.95)])
        wanted = every[[int(0.05 * len(every)), int(np.ceil(0.95 * len(every))) - 1]]
        missed += (wanted < brackets[:, 0]).any() | (wanted > brackets[:, 1]).any()
    assert missed <= 1
