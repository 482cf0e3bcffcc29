"""The rules, one by one, on tables of measures in which one value is out of line."""

import numpy as np
import polars as pl
import pytest
from scipy.stats import median_abs_deviation

from phenomae.quality.flags import MIN_FIELDS, flag_fields, robust_z
from phenomae.quality.measure import MEASURES
from phenomae.quality.plates import (
    list_blurred_plates,
    list_dark_channels,
    list_suspicious,
    summarize_plates,
)
from phenomae.quality.settings import FLAGS, QcSettings


def measures(fields: int = 20, plate: str = "P1", **changed: dict[tuple[int, str], float]):
    """Good fields of two channels that vary a little; `changed` has measure={(field, channel): x}.

    Field k is site 1 of the k-th well, counted along row A.
    """
    rng = np.random.default_rng(0)
    rows = []
    for field in range(fields):
        for channel in ("DNA", "ER"):
            row = {
                "plate": plate,
                "well": f"A{field + 1:02d}",
                "site": 1,
                "channel": channel,
                "focus": 0.2 * rng.normal(1, 0.05),
                "power_slope": -2.0,
                "saturation": 0.0,
                "foreground": rng.uniform(0.2, 0.4),
                "background": 100.0,
                "mean_intensity": 300.0,
                "highest": rng.uniform(2000, 3000),
                "brightest_object": 100 + 1000 * rng.normal(1, 0.05),
            }
            for measure, values in changed.items():
                row[measure] = values.get((field, channel), row[measure])
            rows.append(row)
    return pl.DataFrame(rows, MEASURES)


def flagged(table: pl.DataFrame, flag: str) -> list[tuple[str, str]]:
    return table.filter(pl.col(flag)).select("well", "channel").rows()


@pytest.mark.parametrize("values", [[1.0, 2, 3, 4, 5, 6, 7, 100], [0.0, 0, 1, 3, 9, 9, 9, 9, 20]])
def test_robust_z_is_scipys_median_absolute_deviation(values):
    values = np.array(values)
    expected = (values - np.median(values)) / median_abs_deviation(values, scale="normal")
    np.testing.assert_allclose(robust_z(values), expected, rtol=1e-5)
    with_gap = robust_z(np.append(values, np.nan))
    np.testing.assert_allclose(with_gap[:-1], expected, rtol=1e-5)
    assert np.isnan(with_gap[-1])


def test_robust_z_of_few_or_equal_values():
    assert np.isnan(robust_z(np.arange(MIN_FIELDS - 1.0))).all()
    assert np.isnan(robust_z(np.r_[np.zeros(9), 1.0])).all()
    np.testing.assert_allclose(robust_z(np.r_[np.zeros(9), 1.0], floor=0.25), np.r_[np.zeros(9), 4])


def test_good_fields_have_no_flags():
    table = flag_fields(measures(), QcSettings())
    assert not table.select(pl.any_horizontal(*FLAGS, "left_out").any()).item()
    assert table.columns == [*MEASURES, "focus_z", "brightest_object_z", *FLAGS, "left_out"]


def test_a_blurred_channel_is_flagged_and_its_field_left_out():
    table = flag_fields(measures(focus={(3, "ER"): 0.1}), QcSettings())
    assert flagged(table, "blurred") == [("A04", "ER")]
    assert flagged(table, "left_out") == [("A04", "DNA"), ("A04", "ER")]
    logs = np.log(table.filter(pl.col("channel") == "ER")["focus"].to_numpy())
    deviation = max(median_abs_deviation(logs, scale="normal"), 0.05)
    expected = (np.log(0.1) - np.median(logs)) / deviation
    z = table.filter(pl.col("channel") == "ER")["focus_z"][3]
    assert z == pytest.approx(expected, rel=1e-5)


def test_a_channel_without_structure_is_not_blurred():
    table = flag_fields(measures(focus={(3, "ER"): 0.0}), QcSettings())
    assert flagged(table, "blurred") == []
    assert table["focus_z"].null_count() == 1


def test_on_a_uniform_plate_a_small_difference_is_no_outlier():
    same = {(field, name): 0.2 for field in range(20) for name in ("DNA", "ER")}
    for focus, expected in ((0.2 * 0.85, []), (0.2 * 0.8, [("A04", "ER")])):
        # The logarithms of .85 and .8 are -3.3 and -4.5 times .05.
        table = flag_fields(measures(focus=same | {(3, "ER"): focus}), QcSettings(z=4))
        assert flagged(table, "blurred") == expected


def test_bright_objects_are_debris_where_no_other_field_has_them():
    # 1,000 above the background is usual: 1,800 is a few deviations more than 1,100.
    table = flag_fields(measures(brightest_object={(5, "DNA"): 3000.0}), QcSettings())
    assert flagged(table, "debris") == [("A06", "DNA")]
    everywhere = {(field, "DNA"): 3000.0 + field for field in range(20)}
    table = flag_fields(measures(brightest_object=everywhere), QcSettings())
    assert flagged(table, "debris") == []


def test_saturation_counts_where_others_are_not_brighter():
    share, bright = {(5, "DNA"): 0.02}, {(5, "DNA"): 4095.0}
    table = flag_fields(measures(saturation=share, highest=bright), QcSettings())
    assert flagged(table, "saturated") == [("A06", "DNA")]
    dark = flag_fields(measures(saturation=share, highest={(5, "DNA"): 12.0}), QcSettings())
    assert flagged(dark, "saturated") == []
    assert dark["saturation"].max() == 0
    few = flag_fields(measures(saturation=share, highest=bright), QcSettings(max_saturation=0.02))
    assert flagged(few, "saturated") == []


def test_a_field_is_empty_if_all_its_channels_are_and_is_compared_with_no_other():
    empty = {(2, "DNA"): 0.001, (2, "ER"): 0.004, (7, "DNA"): 0.0}
    table = flag_fields(
        measures(foreground=empty, focus={(2, "ER"): 0.01}, brightest_object={(2, "ER"): 9e4}),
        QcSettings(),
    )
    assert flagged(table, "empty") == [("A03", "DNA"), ("A03", "ER")]
    assert flagged(table, "left_out") == flagged(table, "empty")
    assert flagged(table, "blurred") == flagged(table, "debris") == []


def test_only_the_chosen_flags_leave_fields_out():
    changed = {"focus": {(3, "ER"): 0.05}, "brightest_object": {(5, "DNA"): 9000.0}}
    table = flag_fields(measures(**changed), QcSettings(leave_out=("debris",)))
    assert flagged(table, "blurred") == [("A04", "ER")]
    assert set(flagged(table, "left_out")) == {("A06", "DNA"), ("A06", "ER")}


def test_plates_are_compared_with_themselves_and_small_ones_are_named(capsys):
    # P2 is less sharp than P1 throughout, and P3 is too small to have outliers.
    dull = {(field, name): 0.05 for field in range(20) for name in ("DNA", "ER")}
    small = measures(MIN_FIELDS - 1, "P3", focus={(0, "ER"): 0.001})
    table = flag_fields(
        pl.concat([measures(), measures(plate="P2", focus=dull), small]), QcSettings()
    )
    assert flagged(table, "left_out") == []
    assert "fewer than 8 comparable fields per channel" in capsys.readouterr().err
    plates = summarize_plates(table, pl.DataFrame(schema={"plate": pl.String, "edge_effect": bool}))
    assert plates["fields"].to_list() == [20, 20, 7]
    medians = [
        table.filter((pl.col("plate") == name) & (pl.col("channel") == "DNA"))["focus"].median()
        for name in ("P1", "P2", "P3")
    ]
    assert plates["relative_focus"][1] == pytest.approx(0.05 / np.median(medians), rel=0.05)
    (line,) = list_blurred_plates(plates)
    assert line.endswith(": 1 (P2)")


def test_a_channel_that_shows_nothing_on_a_plate_is_named():
    dark = {(field, "ER"): 0.0 for field in range(20)}
    table = flag_fields(measures(foreground=dark), QcSettings())
    assert list(list_dark_channels(table, 0.005)) == [
        "plate P1, channel ER: no field has foreground"
    ]
    assert list(list_dark_channels(flag_fields(measures(), QcSettings()), 0.005)) == []


def test_perturbations_that_lose_most_of_their_wells_are_named():
    wells = [f"A{number:02d}" for number in range(1, 9)]
    names = ["toxic", "toxic", "toxic", "one", "one", "NTC", "NTC", None]
    fields = pl.DataFrame(
        {"plate": "P1", "well": wells, "site": 1, "perturbation": names}
    ).with_columns(control=pl.col("perturbation") == "NTC")
    bad = fields.filter(pl.col("well").is_in(["A01", "A02", "A04", "A06", "A07", "A08"]))
    (line,) = list_suspicious(bad.select("plate", "well", "site"), fields)
    assert "perhaps by their phenotype: 1 (toxic)" in line
    assert list(list_suspicious(bad.clear().select("plate", "well", "site"), fields)) == []


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"z": 0}, r"z must be above 0, not 0"),
        ({"max_saturation": 2}, r"max_saturation must be from 0 to 1, not 2"),
        ({"min_foreground": -1}, r"min_foreground must be from 0 to 1, not -1"),
        ({"object_size": 0}, r"object_size must be at least 1, not 0"),
        ({"leave_out": ()}, r"leave_out must be one or more of blurred, .*, not empty"),
        ({"leave_out": ("odd",)}, r"leave_out must be one of blurred, .*, not odd"),
        ({"level": 1}, r"level must be between 0 and 1 \(both excluded\), not 1"),
        ({"min_effect": -1}, r"min_effect must be at least 0, not -1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        QcSettings(**setting)
