"""Corrections in words: from the records of wells that `correct` made, in several ways."""

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from phenomae.correction.correct import CorrectSettings, correct
from phenomae.reporting.evidence.corrections import (
    UNCORRECTED,
    UNKNOWN,
    Corrections,
    trace_corrections,
)
from phenomae.reporting.evidence.upstream import find_upstream
from phenomae.signatures import read_signature


def trace(wells: Path, *places: Path) -> Corrections:
    record = read_signature(wells)
    return trace_corrections(wells, record, find_upstream([record], places))


def test_each_step_is_said_with_what_it_is_fitted_on(imaged, tmp_path):
    settings = CorrectSettings(
        method="mad-robust", batch="plate", then=("sphering:", "feature-select:")
    )
    correct(imaged.wells, tmp_path / "corrected", settings=settings)
    found = trace(tmp_path / "corrected", imaged.wells.parent)
    assert found.words == (
        "mad-robust by plate (fitted on the controls of each plate), then sphering (fitted on all "
        "controls), then feature-select (fitted on all wells)"
    )
    assert found.before == imaged.wells
    assert found.store == read_signature(imaged.store)["identity"]


def test_regressions_are_fitted_on_the_controls_of_all_plates(imaged):
    record = read_signature(imaged.corrected)
    record["settings"]["then"] = ["position:"]
    upstream = find_upstream([record], [imaged.corrected.parent])
    assert trace_corrections(imaged.corrected, record, upstream).words == (
        "center-scale by plate (fitted on the controls of each plate), then position (fitted on "
        "the controls of all plates)"
    )


def test_corrections_of_corrected_wells_are_in_their_order(imaged, tmp_path):
    arms = pl.DataFrame({"gene": [f"G{n:03d}" for n in range(1, 13)], "arm": ["1p", "2q"] * 6})
    arms.write_csv(tmp_path / "arms.csv")
    settings = CorrectSettings(
        method="harmony", batch="plate", arms=tmp_path / "arms.csv", arm_genes=2, diagnose=False
    )
    correct(imaged.corrected, tmp_path / "again", settings=settings)
    found = trace(tmp_path / "again", imaged.wells.parent)
    assert found.words == (
        "center-scale by plate (fitted on the controls of each plate), then harmony by plate "
        "(fitted on all wells), then minus the mean of the genes on each chromosome arm"
    )
    assert found.before == imaged.corrected
    assert (found.diagnosis, found.verdict, found.warnings) == (None, None, [])


def test_a_saved_correction_is_said(imaged, tmp_path):
    by_plate = CorrectSettings(method="center-scale", batch="plate", diagnose=False)
    correct(imaged.wells, tmp_path / "first", settings=by_plate, save=tmp_path / "saved.npz")
    settings = CorrectSettings(diagnose=False)
    correct(imaged.wells, tmp_path / "second", settings=settings, apply=tmp_path / "saved.npz")
    assert trace(tmp_path / "second", imaged.wells.parent).words == (
        "center-scale by plate (fitted on the controls of each plate) (a saved correction)"
    )


def test_wells_without_correction(imaged):
    found = trace(imaged.wells, imaged.wells.parent)
    assert found.words == UNCORRECTED
    assert found.before is None
    assert found.diagnosis is None
    assert found.store == read_signature(imaged.store)["identity"]


def test_wells_whose_sources_are_elsewhere(imaged, tmp_path):
    copy = shutil.copytree(imaged.corrected, tmp_path / "corrected")
    found = trace(copy, tmp_path)
    assert found.words == (
        f"{UNKNOWN}; last center-scale by plate (fitted on the controls of each plate)"
    )
    assert found.before is None
    assert found.store is None


def test_diagnosis_and_verdict_are_those_that_correct_wrote(imaged):
    found = trace(imaged.corrected, imaged.corrected.parent)
    verdict = json.loads((imaged.corrected / "verdict.json").read_text())
    assert found.verdict == verdict["line"]
    assert found.warnings == verdict["warnings"]
    assert found.diagnosis is not None
    written = pl.read_csv(imaged.corrected / "diagnosis.csv")
    assert found.diagnosis["after"].to_list() == written["after"].to_list()


def test_a_damaged_diagnosis_is_refused(imaged, tmp_path):
    copy = shutil.copytree(imaged.corrected, tmp_path / "corrected")
    content = (copy / "diagnosis.csv").read_text()
    (copy / "diagnosis.csv").write_text(content.replace("controls", "contrOls", 1))
    with pytest.raises(ValueError, match=r"is damaged: diagnosis\.csv has changed since"):
        trace(copy, tmp_path)
