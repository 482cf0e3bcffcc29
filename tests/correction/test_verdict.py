"""The verdict on a correction: its rule; intervals and neighbours against other libraries."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.neighbors import NearestNeighbors

from phenomae import cli
from phenomae.correction.batch_mixing import predict_labels
from phenomae.correction.correct import CorrectSettings, correct
from phenomae.correction.verdict import Figure, conclude
from phenomae.records import WELL_COLUMNS
from phenomae.wells import write_wells


def figure(
    before: float,
    after: float,
    *,
    higher: bool = True,
    n: int = 400,
    name: str = "x",
    chance: float = 0,
) -> Figure:
    """A figure of `n` wells, of which the first ones are right before and after."""
    wells = np.arange(n) / n
    return Figure(name, wells < before, wells < after, chance, higher)


def test_the_interval_is_that_of_a_mean_of_paired_differences():
    rng = np.random.default_rng(0)
    one, other = rng.random(300) < 0.3, rng.random(300) < 0.5
    found = Figure("x", one, other, 0, True).interval
    difference = other.astype(int) - one.astype(int)
    low, high = stats.norm.interval(0.95, difference.mean(), stats.sem(difference))
    assert found == pytest.approx((difference.mean(), low, high))


@pytest.mark.parametrize(
    ("found", "change"),
    [
        (figure(0.1, 0.3), "better"),
        (figure(0.3, 0.1), "worse"),
        (figure(0.1, 0.3, higher=False), "worse"),
        (figure(0.3, 0.1, higher=False), "better"),
        (figure(0.3, 0.3), "same"),
        (figure(0.3, 0.305), "same"),  # 2 of 400 wells
        (figure(0.1, 0.5, n=9), None),
        # Batches that are predicted no better than by chance, before and after: nothing to gain.
        (figure(0.2, 0.05, higher=False, chance=0.25), "same"),
        (figure(0.05, 0.2, higher=False, chance=0.25), "same"),
        (figure(0.5, 0.05, higher=False, chance=0.25), "better"),
        (figure(0.05, 0.5, higher=False, chance=0.25), "worse"),
    ],
)
def test_a_figure_is_better_if_its_interval_is(found: Figure, change: str | None):
    assert found.change == change


UP, DOWN, EVEN = figure(0.1, 0.3, name="a"), figure(0.6, 0.4, name="b"), figure(0.5, 0.5, name="c")


@pytest.mark.parametrize(
    ("figures", "lacking", "line"),
    [
        ([UP, EVEN], [], "verdict: helped (a .100 to .300)"),
        ([EVEN, DOWN], [], "verdict: hurt (b .600 to .400)"),
        ([DOWN, UP], [], "verdict: mixed (better: a .100 to .300; worse: b .600 to .400)"),
        ([EVEN], [], "verdict: undetermined (no figure changed by more than chance)"),
        ([UP], ["one plate"], "verdict: undetermined (one plate)"),
        ([], ["one plate", "no replicates"], "verdict: undetermined (one plate, no replicates)"),
        ([figure(0, 1, name="a")], [], "verdict: helped (a .000 to 1.000)"),
    ],
)
def test_the_rule(figures: list[Figure], lacking: list[str], line: str):
    assert conclude(figures, lacking) == line


def vote(near: np.ndarray, labels: np.ndarray) -> list[bool]:
    right = []
    for own, row in zip(labels, near, strict=True):
        named = labels[row].tolist()
        most = max(map(named.count, named))
        right.append(next(name for name in named if named.count(name) == most) == own)
    return right


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(6, 1200))
def test_labels_are_predicted_as_by_scikit_learn(seed: int, wells: int):
    rng = np.random.default_rng(seed)
    features, labels = rng.normal(size=(wells, 4)), rng.integers(3, size=wells)
    features += np.eye(4)[labels] * 2
    search = NearestNeighbors(n_neighbors=5, metric="cosine", algorithm="brute").fit(features)
    expected = vote(search.kneighbors(return_distance=False), labels)
    found = predict_labels(features, labels)
    assert found.right.tolist() == expected
    assert found.accuracy == pytest.approx(np.mean(expected))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_wells_of_one_plate_are_no_neighbours_where_they_are_apart(seed: int):
    rng = np.random.default_rng(seed)
    features, labels = rng.normal(size=(60, 4)), rng.integers(3, size=60)
    plates = rng.integers(4, size=60)
    near = []
    for well in range(60):
        away = np.flatnonzero(plates != plates[well])
        search = NearestNeighbors(n_neighbors=5, metric="cosine", algorithm="brute")
        search.fit(features[away])
        near.append(away[search.kneighbors(features[[well]], return_distance=False)[0]])
    expected = vote(np.array(near), labels)
    assert predict_labels(features, labels, plates).right.tolist() == expected


def read_line(out: Path) -> str:
    return json.loads((out / "verdict.json").read_text())["line"]


def test_a_correction_of_planted_offsets_helped(make_screen, tmp_path, capsys):
    wells, out = make_screen(), tmp_path / "out"
    assert (
        cli.run(["correct", str(wells), str(out), "--method", "center-scale", "--batch", "plate"])
        == 0
    )
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith("verdict: helped (kNN plate accuracy of controls 1.000 to ")
    assert "replicate retrieval" in line
    assert read_line(out) == line
    table = pl.read_csv(out / "diagnosis.csv")
    row = table.filter(pl.col("measure") == "replicate retrieval").row(0, named=True)
    assert row["difference"] == pytest.approx(row["after"] - row["before"])
    assert row["low"] < row["difference"] < row["high"]
    assert row["change"] == "better"


def test_a_correction_by_controls_that_moved_alone_hurt(make_screen, tmp_path):
    """On each plate the controls, and nothing else, lie in another direction."""
    settings = CorrectSettings("center-scale", "plate")
    centred = correct(make_screen(), tmp_path / "centred", settings=settings).to_polars()
    names = centred.columns[len(WELL_COLUMNS) :]
    moves = {"P1": (0, 8), "P2": (0, -8), "P3": (1, 8), "P4": (1, -8)}
    moved = centred
    for plate, (index, by) in moves.items():
        here = pl.col("control") & (pl.col("plate") == plate)
        value = pl.col(names[index])
        moved = moved.with_columns(pl.when(here).then(value + by).otherwise(value))
    write_wells(tmp_path / "moved", moved, names)
    correct(tmp_path / "moved", tmp_path / "out", settings=settings)
    line = read_line(tmp_path / "out")
    assert line.startswith("verdict: mixed (better: kNN plate accuracy of controls"), line
    worse = line.partition("worse: ")[2]
    assert "kNN plate accuracy of all wells" in worse
    assert "replicate retrieval" in worse


def test_one_plate_is_undetermined(make_screen, tmp_path):
    wells = make_screen(plate=pl.lit("P1"), well=pl.format("A{}", pl.int_range(pl.len()) + 1))
    correct(wells, tmp_path / "out")
    line = read_line(tmp_path / "out")
    assert line == "verdict: undetermined (one plate, no replicates on two plates)"


def test_without_diagnosis_there_is_no_verdict(make_screen, tmp_path, capsys):
    correct(make_screen(), tmp_path / "out", settings=CorrectSettings(diagnose=False))
    assert "verdict" not in capsys.readouterr().out
    assert not (tmp_path / "out/verdict.json").exists()
