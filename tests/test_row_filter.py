"""Rows by a condition, against polars' own expressions and numpy."""

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
        ("plate NOT LIKE '_1'", ~pl.col("plate").str.ends_with("1")),
        ("plate ILIKE 'p3'", pl.col("plate") == "P3"),
        ("plate LIKE 'P.'", pl.lit(False) | (pl.col("site") > 9)),
        ("site NOT IN (1, 2.0, 1 + 2)", pl.col("site") > 3),
        ("site NOT BETWEEN 2 AND 3", (pl.col("site") < 2) | (pl.col("site") > 3)),
        ("plate IS NOT NULL", pl.col("plate").is_not_null()),
        ("control IS NOT TRUE", ~pl.col("control").fill_null(False)),
        ("site - 1 - 1 = 1", pl.col("site") == 3),
        ("site % 2 = 1 AND -site < -1", pl.col("site").is_in([3, 5])),
        ("site / 2 = 2.5", pl.col("site") == 5),
        ("round(focus * 10) = 2 OR sqrt(site) = 2", pl.col("site").is_in([2, 4])),
        ("coalesce(focus, 9) > 1", pl.col("focus").is_null()),
        ("length(plate) = 2 AND lower(plate) = 'p1'", pl.col("plate") == "P1"),
        ("upper(trim(plate)) <> 'P1'", pl.col("plate") != "P1"),
        ("abs(1 - site) >= 4", pl.col("site") == 5),
        ("site = 1 OR site = 2 AND control", pl.col("site") == 1),
        ("NOT (site = 1 OR control)", (pl.col("site") != 1) & ~pl.col("control")),
        ("focus > .1 -- sharp ones", pl.col("focus") > 0.1),
        ('"focus" * 2 < 0.5', pl.col("focus") * 2 < 0.5),
        ("TRUE", pl.lit(True)),
    ],
)
def test_the_rows_are_those_that_polars_filters(sql: str, oracle: pl.Expr) -> None:
    if TABLE.filter(oracle).is_empty():
        with pytest.raises(ValueError, match="matches no row of the table"):
            match_rows(TABLE, sql, "the table")
        return
    kept = TABLE.filter(match_rows(TABLE, sql, "the table"))
    assert kept["site"].to_list() == TABLE.filter(oracle)["site"].to_list()


@pytest.mark.parametrize(
    "part",
    [
        "(SELECT 1)",
        "AVG(focus)",
        "COUNT(*)",
        "ROW_NUMBER() OVER ()",
        "read_csv('/etc/passwd')",
        "read_parquet('s3://bucket/key')",
        "load_extension('x')",
        "CAST(focus AS INT)",
        "focus::int",
        "other.focus",
        "window_low[0]",
        "@variable",
        ":parameter",
        "INTERVAL '1' day",
        "CASE WHEN control THEN 1 END",
        "round(focus, 2)",
    ],
)
def test_what_could_reach_further_than_the_row_is_refused(part: str) -> None:
    for sql in (f"{part} > 1", f"site IN ({part}, 2)", f"NOT ({part} = focus)"):
        with pytest.raises(ValueError, match="is not allowed, only comparisons, AND, OR, NOT, IN"):
            match_rows(TABLE, sql, "store")
    for statement in ("DROP TABLE x", "SELECT 1", "COPY x TO 'file'", "ATTACH 'x'", "PRAGMA a"):
        with pytest.raises(ValueError, match="cannot be used for store"):
            match_rows(TABLE, statement, "store")


def test_names_of_many_wells_are_a_condition() -> None:
    for join in (" OR ".join(f"site = {k}" for k in range(5, 6000)), f"site IN ({'7,' * 9000}5)"):
        assert match_rows(TABLE, join, "store").tolist() == [False] * 4 + [True]


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
        ("", "where '' cannot be used for store: it is empty"),
        ("*", r"cannot be used for store: '\*' is not allowed, only comparisons"),
        ("focus > 0.1; DROP", "it has a semicolon, but it is one condition"),
        ("site = 'a", "it cannot be read, like text without its second quote"),
        ("site ~ 1", "unexpected '~', after 'site'"),
        ("site IN ()", r"IN is followed by values in brackets"),
        ("site IS 3", "IS is followed by NULL, TRUE or FALSE"),
        ("plate LIKE plate", "LIKE is followed by text"),
        ("plate LIKE 'a!_' ESCAPE '!'", "is not allowed, only comparisons"),
        ("plate > 3", "cannot compare string with numeric"),
        ("window_low > 1", "cannot be used for store"),
        (
            "site IN (SELECT site FROM other)",
            r"SELECT site FROM other\)' is not allowed",
        ),
        ("nosuch(focus) > 1", r"'NOSUCH\(focus\)' is not allowed, only .* abs, ceil, coalesce"),
        ("(" * 300 + "site > 1" + ")" * 300, "it is nested too deeply"),
        ("site > " + "+".join("1" * 5000), "it is nested too deeply"),
        ("site > 1 OR " * 9000 + "control", "it has 108007 characters, more than 100000"),
        ("plate = 'P9'", "where \"plate = 'P9'\" matches no row of store"),
    ],
)
def test_what_does_not_do_is_one_sentence(sql: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as found:
        match_rows(TABLE, sql, "store")
    assert "\n" not in str(found.value)
