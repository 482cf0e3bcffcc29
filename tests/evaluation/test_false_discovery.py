"""False discovery rates are those of SciPy."""

import numpy as np
import pytest
from scipy.stats import false_discovery_control

from phenomae.evaluation.false_discovery import false_discovery_rates


@pytest.mark.parametrize("count", [0, 1, 2, 500])
def test_rates_are_those_of_scipy(count):
    p = np.random.default_rng(count).uniform(size=count).round(2)  # with ties, zeros and ones
    wanted = false_discovery_control(p) if count else p
    np.testing.assert_allclose(false_discovery_rates(p), wanted, rtol=1e-14)


def test_tests_that_are_not_listed_count_as_not_found():
    p = np.array([0.2, 1e-4, 0.03])
    wanted = false_discovery_control(np.append(p, np.ones(7)))[:3]
    np.testing.assert_allclose(false_discovery_rates(p, tests=10), wanted, rtol=1e-14)
