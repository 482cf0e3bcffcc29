"""Sorted values in bins give what numpy's binary search gives, wherever the values lie."""

import numpy as np
import pytest

from phenomae.evaluation.recall.sorted_values import SortedValues

RANDOM = np.random.default_rng(0)
VALUES = {
    "none": np.empty(0),
    "one": np.array([0.25]),
    "like cosines": np.unique(RANDOM.normal(0, 0.05, 5000)),
    "all in one bin but one": np.append(RANDOM.uniform(0, 1e-9, 999), 1.0),
    "next to one another": np.nextafter(np.full(300, 0.7), 1) + np.spacing(0.7) * np.arange(300),
    "subnormal differences": 5e-324 * np.arange(50),
    "bounds of cosines": np.array([-1.0, -0.0, 1.0]),
}


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_counts_are_those_of_a_binary_search(values):
    values = np.sort(values)
    around = [values, np.nextafter(values, 2), np.nextafter(values, -2)]
    numbers = RANDOM.permutation(np.concatenate([*around, RANDOM.uniform(-1, 1, 2000)]))
    found = SortedValues(values).count_smaller(numbers)
    np.testing.assert_array_equal(found, np.searchsorted(values, numbers, side="left"))
