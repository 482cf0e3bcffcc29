"""Edge effects of plates whose wells are drawn: what was planted is found, and noise is not."""

import numpy as np
import polars as pl
import pytest
from scipy.stats import mannwhitneyu, median_abs_deviation

from phenomae.quality.edges import EDGES, MEASURES, compare_edges
from phenomae.quality.settings import QcSettings

LETTERS = "ABCDEFGHIJKLMNOP"


def draw_plate(
    seed: int, rows: int = 8, columns: int = 12, edge: float = 0.0, plate: str = "P1"
) -> pl.DataFrame:
    """One field per well and one channel, standard normal, with `edge` added in the border rows."""
    rng = np.random.default_rng(seed)
    table = [
        {
            "plate": plate,
            "channel": "DNA",
            "well": f"{LETTERS[row]}{column + 1:02d}",
            "left_out": False,
            **{name: rng.normal() + edge * (row in (0, rows - 1)) for name in MEASURES},
        }
        for row in range(rows)
        for column in range(columns)
    ]
    return pl.DataFrame(table)


def wells_of(fields: pl.DataFrame, controls: tuple[str, ...] = ()) -> pl.DataFrame:
    """The wells of some fields; those of the columns `controls` are controls."""
    wells = fields.select("plate", "well").unique(maintain_order=True)
    return wells.with_columns(control=pl.col("well").str.slice(1).is_in(controls))


def test_planted_rows_are_found_by_scipys_test_and_the_formula_of_benjamini_and_hochberg():
    fields = draw_plate(0, edge=3.0)
    table = compare_edges(fields, wells_of(fields), QcSettings())
    assert table.schema == pl.Schema(EDGES)
    assert table.select("measure", "border").rows() == [
        (measure, border) for border in ("rows", "columns") for measure in MEASURES
    ]
    assert table["edge_effect"].to_list() == [True] * 3 + [False] * 3
    values = fields["mean_intensity"].to_numpy().reshape(8, 12)
    outer, inner = values[[0, 7]].ravel(), values[1:7, 1:11].ravel()
    row = table.row(0, named=True)
    assert row["wells"] == "treated"
    assert (row["border_wells"], row["inner_wells"]) == (24, 60)
    spread = median_abs_deviation(inner, scale="normal")
    assert row["effect"] == pytest.approx((np.median(outer) - np.median(inner)) / spread, rel=1e-4)
    assert row["p"] == pytest.approx(mannwhitneyu(outer, inner).pvalue)
    p = np.sort(table["p"].to_numpy())
    adjusted = [min(p[j] * 6 / (j + 1) for j in range(k, 6)) for k in range(6)]
    np.testing.assert_allclose(np.sort(table["p_adjusted"].to_numpy()), adjusted)


def test_of_noise_no_more_is_found_than_the_level_says():
    plates = [draw_plate(seed, 16, 24, plate=f"P{seed}") for seed in range(60)]
    fields = pl.concat(plates)
    table = compare_edges(fields, wells_of(fields), QcSettings(min_effect=0))
    assert len(table) == 360
    # The standard error of a share of .05 among 360 is .011.
    assert abs((table["p"] <= 0.05).mean() - 0.05) < 0.04
    assert table["edge_effect"].sum() <= 2


def test_a_difference_that_is_small_is_none_however_certain():
    fields = draw_plate(1, 16, 24, edge=0.7)
    wells = wells_of(fields)
    assert compare_edges(fields, wells, QcSettings(min_effect=0.3))["edge_effect"][:3].all()
    assert not compare_edges(fields, wells, QcSettings(min_effect=1.5))["edge_effect"].any()


def test_controls_are_compared_with_controls_and_treated_wells_with_treated_ones():
    fields = draw_plate(2)
    inside = compare_edges(fields, wells_of(fields, ("01", "02", "12")), QcSettings())
    # Rows have 6 controls in the border and 6 inside (column 2); columns have 16 and 6.
    assert inside.select("border", "wells", "border_wells", "inner_wells").unique(
        maintain_order=True
    ).rows() == [("rows", "control", 6, 6), ("columns", "control", 16, 6)]
    outside = compare_edges(fields, wells_of(fields, ("01", "12")), QcSettings())
    # All wells of the border columns are controls, and none inside is: nothing can be compared.
    assert outside.select("border", "wells", "border_wells", "inner_wells").unique(
        maintain_order=True
    ).rows() == [("rows", "treated", 20, 60)]


def test_a_plate_whose_border_was_not_used_has_no_rows():
    fields = draw_plate(3, edge=5)
    used = fields.filter(
        pl.col("well").str.slice(0, 1).is_in(list("BCDEFG"))
        & ~pl.col("well").str.slice(1).is_in(["01", "12"])
    )
    # B02 to G11 fit on a plate of 96 wells only, whose first and last rows are A and H.
    assert compare_edges(used, wells_of(used), QcSettings()).is_empty()


def test_fields_that_are_left_out_do_not_count():
    fields = draw_plate(4)
    bad = fields.with_columns(mean_intensity=pl.lit(1e6), left_out=pl.lit(True))
    both = pl.concat([fields, bad.filter(pl.col("well").str.starts_with("A"))])
    settings = QcSettings()
    expected = compare_edges(fields, wells_of(fields), settings)
    assert compare_edges(both, wells_of(both), settings).equals(expected)
    none_left = compare_edges(bad, wells_of(bad), settings)
    assert none_left.is_empty()
    assert none_left.schema == pl.Schema(EDGES)
