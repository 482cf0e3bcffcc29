"""Vectors of length 1: against numpy's norm, and which wells have none."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenomae.maps.unit_vectors import unit_rows, unit_wells

WELLS = pl.DataFrame({"plate": ["P1", "P1", "P2"], "well": ["A01", "A02", "A01"]})


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 8), st.integers(1, 300), st.integers(-30, 30), st.integers(0, 2**32))
def test_rows_have_length_1_whatever_their_size(count, width, exponent, seed):
    rows = (np.random.default_rng(seed).normal(size=(count, width)) * 10.0**exponent).astype("f4")
    wide = rows.astype(np.float64)
    wanted = wide / np.linalg.norm(wide, axis=1, keepdims=True)
    np.testing.assert_allclose(unit_rows(rows), wanted, rtol=1e-12)


def test_rows_of_0_stay_so():
    np.testing.assert_array_equal(unit_rows(np.array([[0.0, 0], [3, 4]])), [[0, 0], [0.6, 0.8]])


def test_only_wells_that_are_used_need_a_direction():
    features = np.array([[1.0, 0], [0, 0], [0, -2]])
    used = np.array([True, False, True])
    np.testing.assert_array_equal(
        unit_wells(features, WELLS, Path("WELLS"), used), [[1, 0], [0, 0], [0, -1]]
    )
    with pytest.raises(ValueError, match=r"WELLS has 1 well with .* first plate P1, well A02: lea"):
        unit_wells(features, WELLS, Path("WELLS"))
