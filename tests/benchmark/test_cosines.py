"""Order statistics and single cosines, block by block, against all cosines at once."""

import numpy as np
import pytest

from phenomae.benchmark import cosines
from phenomae.benchmark.cosines import order_statistics, pair_cosines, unit_rows


@pytest.mark.parametrize("cells", [1, 97, 1 << 22])
@pytest.mark.parametrize("offset", [0.0, 50.0])  # 50: all cosines within a few bins of 1
def test_order_statistics_against_a_full_sort(monkeypatch, cells, offset):
    monkeypatch.setattr(cosines, "_CELLS", cells)
    unit = unit_rows(np.random.default_rng(0).normal(size=(41, 6)) + offset)
    wanted = np.sort((unit @ unit.T)[np.triu_indices(41, k=1)])
    ranks = np.array([819, 0, 410, 410, 7])
    np.testing.assert_allclose(order_statistics(unit, ranks), wanted[ranks], atol=1e-14)


@pytest.mark.parametrize("cells", [1, 97, 1 << 22])
def test_pair_cosines_are_those_of_the_order_statistics(monkeypatch, cells):
    monkeypatch.setattr(cosines, "_CELLS", cells)
    unit = unit_rows(np.random.default_rng(1).normal(size=(30, 5)))
    pairs = np.argwhere(np.triu(np.ones((30, 30)), k=1))
    every = np.random.default_rng(2).permutation(pairs)
    found = pair_cosines(unit, every[:, ::-1])
    np.testing.assert_allclose(found, (unit[every[:, 0]] * unit[every[:, 1]]).sum(axis=1))
    assert (np.sort(found) == order_statistics(unit, np.arange(len(pairs)))).all()
