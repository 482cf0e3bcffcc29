"""Rows by an SQL expression, against polars' own expressions and numpy."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phenomae.row_filter import match_rows

TABLE = pl.DataFrame(
    {
        "plate": ["P1", "P1", "P3", "P3", None],
        "focus": [0.05, 0.2, 0.3, None, 0.4],
        "site": [1, 2, 3, 4, 5],
        "control": [True, False, None, False, True],
        "window_low": [[1.0], [2.0], [3.0], [4.0], [5.0]],
    }
)


@pytest.mark.parametrize(
    ("sql", "oracle"),
    [
        ("focus > 0.1 AND plate != 'P3'", (pl.col("focus") > 0.1) & (pl.col("plate") != "P3")),
        ("plate = 'P1' OR site >= 5", (pl.col("plate") == "P1") | (pl.col("site") >= 5)),
        ("plate IN ('P1', 'P9')", pl.col("plate").is_in(["P1", "P9"])),
        ("plate LIKE '%3'", pl.col("plate").str.ends_with("3")),
        ("site BETWEEN 2 AND 3", pl.col("site").is_between(2, 3)),
        ("control", pl.col("control")),
        ("NOT control", ~pl.col("control")),
        ("plate IS NULL", pl.col("plate").is_null()),
        ("focus > AVG(focus)", pl.col("focus") > pl.col("focus").mean()),
        ('"focus" * 2 < 0.5', pl.col("focus") * 2 < 0.5),
        ("TRUE", pl.lit(True)),
    ],
)
def test_the_rows_are_those_that_polars_filters(sql: str, oracle: pl.Expr) -> None:
    kept = TABLE.filter(match_rows(TABLE, sql, "the table"))
    assert kept["site"].to_list() == TABLE.filter(oracle)["site"].to_list()


@given(st.lists(st.none() | st.floats(-2, 2), min_size=1, max_size=20), st.floats(-1, 1, width=32))
def test_a_row_without_a_value_does_not_match(values: list[float | None], limit: float) -> None:
    table = pl.DataFrame({"focus": pl.Series(values, dtype=pl.Float64)})
    expected = [value is not None and value > limit for value in values]
    if any(expected):
        found = match_rows(table, f"focus > {limit!r}", "x")
        np.testing.assert_array_equal(found, expected)
    else:
        with pytest.raises(ValueError, match="matches no row of x"):
            match_rows(table, f"focus > {limit!r}", "x")


@pytest.mark.parametrize(
    "sql", ["dose > 5", "dose != 1", "NOT dose <= 1", "dose + 1 >= 2", "dose = dose"]
)
def test_nan_is_missing_and_never_matches(sql: str) -> None:
    for missing in (float("nan"), None):
        table = pl.DataFrame({"dose": [1.0, 10.0, missing], "name": ["a", "b", "c"]})
        kept = table.filter(match_rows(table, sql, "x"))
        assert "c" not in kept["name"].to_list()
        assert "b" in kept["name"].to_list()
    assert match_rows(table, "dose IS NULL", "x").tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("sql", "sentence"),
    [
        ("sharpness > 1", r"store has no column 'sharpness'; it has plate, focus, site, control"),
        ('plate != "P3"', r"store has no column 'P3'; .*write text in single quotes"),
        ("focus", "gives Float64, not true or false: write a comparison"),
        ("UPPER(plate)", "gives String, not true or false"),
        ("focus >", r"'focus >' cannot be used for store: .*; write it like focus > 0\.1"),
        ("", "where '' cannot be used for store"),
        ("*", "cannot be used for store"),
        ("focus > 0.1; DROP", "unexpected token"),
        ("plate > 3", "cannot compare string with numeric"),
        ("window_low > 1", "cannot be used for store"),
        ("site IN (SELECT site FROM other)", "relation 'other' was not found"),
        ("nosuch(focus) > 1", "unsupported function 'nosuch'"),
        ("plate = 'P9'", "where \"plate = 'P9'\" matches no row of store"),
    ],
)
def test_what_does_not_do_is_one_sentence(sql: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as found:
        match_rows(TABLE, sql, "store")
    assert "\n" not in str(found.value)
