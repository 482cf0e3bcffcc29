"""Batches with too few controls: an error, the controls of all, or left out."""

import numpy as np
import polars as pl
import pytest

from phenomae.correction import CenterScale
from phenomae.correction.correct import CorrectSettings, correct
from phenomae.wells import read_wells

# P2 keeps one control, P3 none.
ONE = (pl.col("plate") == "P2") & (pl.col("well") == "A01")
FEW = pl.col("control") & (pl.col("plate").is_in(["P1", "P4"]) | ONE)


def choose(policy: str, *then: str, batch: str = "plate") -> CorrectSettings:
    return CorrectSettings("center-scale", batch, then, few_controls=policy)


def test_error_lists_batches_and_counts(make_screen, tmp_path):
    with pytest.raises(
        ValueError,
        match=r"few controls in plate P2 \(1\), plate P3 \(0\): center-scale needs at least 2 in "
        "every batch; choose a coarser batch column or none, or few_controls pool or drop",
    ):
        correct(make_screen(control=FEW), tmp_path / "out", settings=choose("error"))


def test_many_batches_are_not_all_listed(make_screen, tmp_path):
    wells = make_screen(control=ONE)
    with pytest.raises(ValueError, match=r"well A01 \(1\), well A02 \(0\).* and 14 more: center"):
        correct(wells, tmp_path / "out", settings=choose("error", batch="well"))


def test_pool_takes_the_controls_of_all_batches(make_screen, tmp_path, capsys):
    wells = make_screen(control=FEW)
    correct(wells, tmp_path / "out", settings=choose("pool"))
    told = (
        "48 wells of batches with too few controls for center-scale are corrected by the controls"
    )
    assert f"{told} of all batches: plate P2 (1), plate P3 (0)" in capsys.readouterr().err
    before, after = read_wells(wells), read_wells(tmp_path / "out")
    plates, control = (
        before.table["plate"].to_numpy().astype(str),
        before.table["control"].to_numpy(),
    )
    features = before.features.astype(np.float64)
    for plate in ("P1", "P2", "P3", "P4"):
        rows = plates == plate
        controls = features[control & rows if plate in ("P1", "P4") else control]
        wanted = (features[rows] - controls.mean(axis=0)) / controls.std(axis=0)
        np.testing.assert_allclose(after.features[rows], wanted, rtol=1e-5)


def test_drop_leaves_their_wells_out(make_screen, tmp_path, capsys):
    wells = make_screen(control=FEW)
    correct(wells, tmp_path / "out", settings=choose("drop"))
    told = "48 wells of batches with too few controls for center-scale are left out: plate P2 (1)"
    assert told in capsys.readouterr().err
    before, after = read_wells(wells), read_wells(tmp_path / "out")
    kept = before.table["plate"].is_in(["P1", "P4"]).to_numpy()
    assert after.table.equals(before.table.filter(kept))
    assert not (tmp_path / "out" / "P2.parquet").exists()
    features, control = before.features[kept].astype(np.float64), after.table["control"].to_numpy()
    batches = after.table["plate"].to_numpy().astype(str)
    wanted = CenterScale().fit_transform(features, controls=control, batches=batches)
    np.testing.assert_allclose(after.features, wanted, rtol=1e-5)


def test_drop_goes_on_until_every_step_has_its_controls(make_screen, tmp_path):
    """Without P1, which has one control, day0 has only those of P2: one, and so it goes too."""
    first = (pl.col("well") == "A01") & pl.col("plate").is_in(["P1", "P2"])
    wells = make_screen(control=pl.col("control") & (pl.col("plate").is_in(["P3", "P4"]) | first))
    correct(wells, tmp_path / "out", settings=choose("drop", "tvn:batch"))
    assert read_wells(tmp_path / "out").table["plate"].unique().sort().to_list() == ["P3", "P4"]


def test_a_broken_well_that_is_left_out_does_no_harm(make_screen, tmp_path):
    broken = pl.when(pl.col("plate") == "P3").then(float("nan")).otherwise("x0")
    wells = make_screen(control=FEW, x0=broken)
    correct(wells, tmp_path / "out", settings=choose("drop"))
    with pytest.raises(ValueError, match="NaN, empty or infinite: wells P3 A01, P3 A02"):
        correct(wells, tmp_path / "pooled", settings=choose("pool"))


def test_no_well_is_left(make_screen, tmp_path):
    wells = make_screen(control=pl.col("well") == "A01")
    with pytest.raises(ValueError, match="drop leaves no well: no batch has enough controls"):
        correct(wells, tmp_path / "out", settings=choose("drop"))


def test_too_few_in_all_cannot_be_pooled(make_screen, tmp_path):
    wells = make_screen(control=ONE)
    with pytest.raises(ValueError, match=r"too few controls in plate P1 \(0\), plate P2 \(1\)"):
        correct(wells, tmp_path / "out", settings=choose("pool"))
    with pytest.raises(
        ValueError, match=r"too few controls in all wells \(1\): tvn needs at least"
    ):
        correct(wells, tmp_path / "out", settings=CorrectSettings(few_controls="pool"))
