"""The condition leaves out exactly the bad fields, whatever their names and number."""

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from phenomae.quality.condition import leave_out
from phenomae.row_filter import match_rows

FIELDS = pl.DataFrame(
    [
        (plate, f"{row}{column:02d}", site)
        for plate in ("P1", "it's", "a OR b", "10% _")
        for row in "AB"
        for column in (1, 2, 12)
        for site in (1, 2, 3)
    ],
    {"plate": pl.String, "well": pl.String, "site": pl.Int32},
    orient="row",
)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.floats(0, 0.98))
def test_it_keeps_all_others(seed, share):
    bad = np.random.default_rng(seed).random(len(FIELDS)) < share
    assume(not bad.all())  # a condition that matches nothing is an error
    condition = leave_out(FIELDS.filter(bad), FIELDS)
    np.testing.assert_array_equal(match_rows(FIELDS, condition, "table"), ~bad)


def test_with_where_it_keeps_what_both_keep():
    where = "site < 3 OR plate = 'P1'"
    bad = FIELDS.filter((pl.col("well") == "A01") & (pl.col("plate") == "it's"))
    kept = match_rows(FIELDS, leave_out(bad, FIELDS, where), "table")
    sites, plates, wells = (FIELDS[name].to_numpy() for name in ("site", "plate", "well"))
    expected = ((sites < 3) | (plates == "P1")) & ~((plates == "it's") & (wells == "A01"))
    np.testing.assert_array_equal(kept, expected)


def test_it_is_short_where_whole_wells_are_bad():
    names = ["A01", "A02", "B12"]
    bad = FIELDS.filter((pl.col("plate") == "P1") & pl.col("well").is_in(names))
    assert leave_out(bad, FIELDS) == "NOT (plate = 'P1' AND well IN ('A01', 'A02', 'B12'))"
    one = bad.filter((pl.col("well") == "A02") & (pl.col("site") == 3))
    assert leave_out(one, FIELDS) == "NOT (plate = 'P1' AND site = 3 AND well = 'A02')"


@pytest.mark.parametrize(("where", "expected"), [(None, "TRUE"), ("site = 1", "(site = 1)")])
def test_without_bad_fields_it_keeps_everything(where, expected):
    condition = leave_out(FIELDS.clear(), FIELDS, where)
    assert condition == expected
    kept = match_rows(FIELDS, condition, "table")
    np.testing.assert_array_equal(kept, where is None or FIELDS["site"].to_numpy() == 1)
