"""`correct --plate-map`: the correction of wells with those labels."""

import hashlib

import numpy as np
import polars as pl
import pytest

from phenomae.correction.correct import CorrectSettings, correct
from phenomae.images.platemap.settings import PlateMapSettings
from phenomae.signatures import read_signature
from phenomae.wells import read_wells

SETTINGS = CorrectSettings(method="center-scale", batch="plate")
IS_CONTROL = pl.int_range(pl.len()).is_between(0, 5) | (pl.int_range(pl.len()) % 7 == 0)


def write_map(path, wells, keep: pl.Expr) -> str:
    table = pl.read_parquet(wells / "*.parquet").select("plate", "well", control=IS_CONTROL)
    table = table.with_columns(gene=pl.when(~pl.col("control")).then(pl.col("well")))
    table.filter(keep).write_csv(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_controls_are_those_of_the_map(make_screen, tmp_path):
    labelled = make_screen("labelled", control=IS_CONTROL)
    expected = read_wells(correct(labelled, tmp_path / "expected", settings=SETTINGS))
    wells = make_screen()
    checksum = write_map(tmp_path / "new.csv", wells, pl.lit(True))
    labels = PlateMapSettings(plate_map=tmp_path / "new.csv")
    made = read_wells(
        correct(wells, tmp_path / "made", settings=SETTINGS, labels=labels, save=tmp_path / "a.npz")
    )
    np.testing.assert_array_equal(made.features, expected.features)
    assert made.table["control"].equals(expected.table["control"])
    assert set(made.table["gene"].drop_nulls()) <= set(made.table["well"])
    assert read_signature(tmp_path / "made")["sources"]["plate_map"] == checksum
    with pytest.raises(ValueError, match=r"a.npz is already there, made with other settings or"):
        correct(wells, tmp_path / "other", settings=SETTINGS, save=tmp_path / "a.npz")


@pytest.mark.parametrize("plates", [["P1", "P2", "P3", "P4"], ["P2", "P4"]])
def test_wells_that_are_left_out_are_as_if_they_had_not_been_there(make_screen, tmp_path, plates):
    wells = make_screen()
    keep = pl.col("plate").is_in(plates) & (pl.col("well") != "A07")
    write_map(tmp_path / "new.csv", wells, keep)
    labels = PlateMapSettings(plate_map=tmp_path / "new.csv", unmapped="skip")
    made = read_wells(correct(wells, tmp_path / "made", settings=SETTINGS, labels=labels))
    # The formula of center-scale by plate: mean and standard deviation of the plate's controls.
    before = read_wells(wells)
    for plate in plates:
        rows = ((before.table["plate"] == plate) & (before.table["well"] != "A07")).to_numpy()
        control = made.table.filter(pl.col("plate") == plate)["control"].to_numpy()
        features = before.features[rows].astype(np.float64)
        expected = (features - features[control].mean(0)) / features[control].std(0, ddof=0)
        found = made.features[(made.table["plate"] == plate).to_numpy()]
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert set(made.table["plate"]) == set(plates)
    assert len(made.table) == 23 * len(plates)
