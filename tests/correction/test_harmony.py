"""Harmony is what harmonypy makes of all wells, and refuses everything else."""

import sys

import numpy as np
import pytest
from harmonypy import run_harmony

from phenomae.correction import Harmony
from phenomae.correction.correct import CorrectSettings, correct
from phenomae.wells import read_wells

METHOD = CorrectSettings("harmony", "plate")


def test_the_command_gives_what_harmonypy_gives(make_screen, tmp_path):
    wells = make_screen()
    correct(wells, tmp_path / "out", settings=METHOD)
    before, after = read_wells(wells), read_wells(tmp_path / "out")
    meta = {"batch": before.table["plate"].to_numpy()}
    wanted = run_harmony(before.features.astype(np.float64), meta, "batch", verbose=False).Z_corr
    np.testing.assert_allclose(after.features, wanted, rtol=1e-5, atol=1e-5)
    assert after.table.equals(before.table)


def test_the_same_bytes_again(make_screen, tmp_path):
    wells = make_screen()
    for name in ("one", "two"):
        correct(wells, tmp_path / name, settings=METHOD)
    for plate in ("P1", "P4"):
        first, second = (
            (tmp_path / name / f"{plate}.parquet").read_bytes() for name in ("one", "two")
        )
        assert first == second


@pytest.mark.parametrize(
    ("batches", "sentence"),
    [
        (None, "but was given no batches: name a column"),
        (np.repeat(["plate P1"], 40), "but was given plate P1 only: name a column"),
        (np.repeat(["a", "b"], 5), "at least 30 wells, but there are 10"),
    ],
)
def test_wells_that_will_not_do(batches, sentence):
    count = 40 if batches is None else len(batches)
    with pytest.raises(ValueError, match=sentence):
        Harmony().fit_transform(np.ones((count, 3)), batches=batches)


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "harmonypy", None)
    with pytest.raises(ValueError, match=r"harmony needs harmonypy: pip install 'phenomae\[harm"):
        Harmony().fit_transform(np.ones((40, 3)), batches=np.repeat(["a", "b"], 20))


@pytest.mark.parametrize("verb", ["fit", "transform", "extend", "restore", "state"])
def test_it_has_nothing_that_it_cannot_do(verb):
    assert Harmony.fits_on == "all wells"
    assert not hasattr(Harmony(), verb)


def test_it_cannot_be_saved(make_screen, tmp_path):
    with pytest.raises(ValueError, match=r"save .*harmony uses all wells at once"):
        correct(make_screen(), tmp_path / "out", settings=METHOD, save=tmp_path / "file.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["wells"]


def test_it_needs_no_controls(make_screen, tmp_path):
    import polars as pl

    wells = make_screen(control=pl.lit(False))
    correct(wells, tmp_path / "out", settings=METHOD)
    assert len(read_wells(tmp_path / "out").table) == 96
