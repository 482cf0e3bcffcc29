"""Sweeps of corrections: every row against the three commands by hand, and the split of pairs."""

import csv
import json
import os
import shlex
import signal
import threading
import time
from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from phenomae.cli import run
from phenomae.correction.correct import CorrectSettings, correct
from phenomae.evaluation.benchmark import benchmark
from phenomae.evaluation.settings import BenchmarkSettings
from phenomae.evaluation.split_pairs import split_pairs
from phenomae.evaluation.sweep import SweepSettings, sweep
from phenomae.evaluation.sweep_settings import list_trials
from phenomae.maps.map import map_wells
from phenomae.reporting.check import INPUT, check
from phenomae.wells import write_wells

WIDTH = 12
COMPLEXES = [[f"G{3 * at + place}" for place in range(3)] for at in range(16)]
SETTINGS = {
    "methods": (
        "none",
        "center-scale",
        "tvn",
        "pca-center-scale(components=3)",
        "center-scale then tvn:",
    ),
    "components": ("4", "all"),
    "resamples": 50,
}


@pytest.fixture(scope="module")
def screen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wells of 48 genes in 16 complexes on two shifted plates, and the pairs of the complexes."""
    folder, rng = tmp_path_factory.mktemp("sweep"), np.random.default_rng(1)
    effects = {
        gene: shared + rng.normal(size=WIDTH)
        for genes in COMPLEXES
        for shared in [rng.normal(size=WIDTH)]
        for gene in genes
    }
    rows: list[dict[str, object]] = []
    for plate in ("P1", "P2"):
        wells = [(gene, f"{gene}_{guide}") for gene in effects for guide in (1, 2)]
        wells += [(None, None)] * 24
        shift = rng.normal(size=WIDTH) * 4
        for place, (gene, guide) in enumerate(wells):
            features = shift + 2 * rng.normal(size=WIDTH) + (effects[gene] if gene else 0)
            well = f"{'ABCDEFGHIJ'[place // 12]}{place % 12 + 1:02d}"
            named = {"plate": plate, "well": well, "gene": gene, "guide": guide}
            values = {f"x{at}": float(value) for at, value in enumerate(features)}
            rows.append({**named, "control": gene is None, **values})
    write_wells(folder / "wells", pl.DataFrame(rows), [f"x{at}" for at in range(WIDTH)])
    pairs = [pair for genes in COMPLEXES for pair in combinations(genes, 2)]
    with open(folder / "pairs.csv", "w", newline="") as file:
        csv.writer(file).writerows([("entity1", "entity2"), *pairs])
    return folder


@pytest.fixture(scope="module")
def swept(screen: Path) -> Path:
    settings = SweepSettings(screen / "pairs.csv", **SETTINGS)
    return sweep(screen / "wells", screen / "swept", settings=settings).path


BY_HAND = {
    "none": None,
    "center-scale": CorrectSettings("center-scale", "plate"),
    "tvn(components=4)": CorrectSettings("tvn(components=4)", "plate"),
    "tvn(components=all)": CorrectSettings("tvn(components=all)", "plate"),
    "pca-center-scale(components=3)": CorrectSettings("pca-center-scale(components=3)", "plate"),
    "center-scale then tvn(components=4):": CorrectSettings(
        "center-scale", "plate", ("tvn(components=4):",)
    ),
    "center-scale then tvn(components=all):": CorrectSettings(
        "center-scale", "plate", ("tvn(components=all):",)
    ),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_each_row_is_what_the_three_commands_give(screen, swept, tmp_path, name):
    table = pl.read_csv(swept / "sweep.csv")
    assert table["correction"].to_list() == list(BY_HAND)
    row = table.filter(pl.col("correction") == name).row(0, named=True)
    wells, settings = screen / "wells", BY_HAND[name]
    # The figures of the wells as they are stand in the column `before` of any correction.
    correct(wells, tmp_path / "out", settings=settings or CorrectSettings("center-scale", "plate"))
    when = "before" if settings is None else "after"
    figures = pl.read_csv(tmp_path / "out/diagnosis.csv")
    found = {(each["measure"], each["wells"]): each[when] for each in figures.to_dicts()}
    assert row["batch_accuracy"] == found["kNN batch accuracy", "all"]
    assert row["controls_accuracy"] == found["kNN batch accuracy", "controls"]
    assert row["replicate_retrieval"] == found["replicate retrieval", "perturbed"]
    line = json.loads((tmp_path / "out/verdict.json").read_text())["line"]
    assert row["verdict"] == (None if settings is None else line.split()[1])
    map_wells(tmp_path / "out" if settings else wells, tmp_path / "map.h5ad")
    recalls = {}
    for half in ("choosing", "reporting"):
        benchmark(
            tmp_path / "map.h5ad",
            tmp_path / half,
            settings=BenchmarkSettings(swept / f"{half}.csv", resamples=50),
        )
        recalls[half] = pl.read_csv(tmp_path / half / "recall.csv").row(0, named=True)
    assert row["choosing_recall"] == recalls["choosing"]["recall"]
    for column in ("recall", "ci_low", "ci_high", "n_pairs", "chance"):
        assert row[column] == recalls["reporting"][column]
    assert row["ci_low"] < row["recall"] < row["ci_high"]


def test_the_best_of_one_half_is_chosen_and_can_be_made(screen, swept, tmp_path, capsys):
    settings = SweepSettings(screen / "pairs.csv", **SETTINGS)
    found = sweep(screen / "wells", screen / "swept", settings=settings)  # it is there
    table = found.to_polars("sweep")
    best = int(np.argmax(table["choosing_recall"].to_list()))
    assert table["chosen"].to_list() == [row == best for row in range(len(table))]
    assert found.chosen == table["correction"][best]
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(table) + 3
    assert lines[-2].startswith(f"chosen: {found.chosen}, by the recall of the pairs in choosing.c")
    words = shlex.split(lines[-1].replace("OUT", str(tmp_path / "corrected")))
    assert run(words[1:]) == 0
    assert (tmp_path / "corrected/diagnosis.csv").exists()


def test_the_halves_share_no_gene_and_no_complex_is_cut(screen, swept):
    halves = [pl.read_csv(swept / f"{name}.csv").rows() for name in ("choosing", "reporting")]
    genes = [{gene for pair in half for gene in pair} for half in halves]
    assert not genes[0] & genes[1]
    assert [len(half) for half in halves] == [24, 24]
    known = {frozenset(pair) for own in COMPLEXES for pair in combinations(own, 2)}
    assert {frozenset(pair) for half in halves for pair in half} == known


def test_a_network_of_interactions_is_split_gene_by_gene():
    rng = np.random.default_rng(0)
    pairs = np.unique(np.sort(rng.integers(60, size=(400, 2)), axis=1), axis=0)
    pairs = pairs[pairs[:, 0] < pairs[:, 1]]
    first, second = split_pairs(pairs, 3)
    assert not set(first.ravel()) & set(second.ravel())
    sides = np.zeros(60)
    sides[first.ravel()], sides[second.ravel()] = 1, 2
    ends = sides[pairs]
    between = (ends[:, 0] != ends[:, 1]).sum()
    assert len(first) + len(second) + between == len(pairs)  # all others are in a half
    assert 0.15 < len(first) / len(pairs) < 0.35  # a quarter of the pairs, and half of the genes
    again, other = split_pairs(pairs, 3), split_pairs(pairs, 4)
    np.testing.assert_array_equal(first, again[0])
    assert len(other[0]) != len(first) or (other[0] != first).any()


def test_too_few_pairs():
    pairs = np.arange(38).reshape(19, 2)
    with pytest.raises(ValueError, match="19 known pairs are on the map, of which halves that sha"):
        split_pairs(pairs, 0)
    assert [len(half) for half in split_pairs(np.arange(40).reshape(20, 2), 0)] == [10, 10]


def test_check_verifies_a_sweep(screen, swept, tmp_path):
    states = check(swept)["state"].to_list()
    # The sweep, its wells with their table, and the annotations.
    assert states == ["complete", "complete", INPUT, INPUT]
    settings = SweepSettings(screen / "pairs.csv", ("center-scale",), resamples=20)
    made = sweep(screen / "wells", tmp_path / "other", settings=settings)
    path = made.path / "sweep.csv"
    path.write_text(path.read_text().replace("center", "centre"))
    with pytest.raises(ValueError, match=r"sweep.csv has changed since phenomae wrote it"):
        check(made)


def test_a_stopped_sweep_goes_on(screen, swept, tmp_path):
    settings = SweepSettings(screen / "pairs.csv", **SETTINGS)
    first = tmp_path / "out.partial/trials/0000.json"

    def stop() -> None:
        while not first.exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=stop, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        sweep(screen / "wells", tmp_path / "out", settings=settings)
    row = json.loads(first.read_text())
    first.write_text(json.dumps({**row, "verdict": "of the first call"}))
    sweep(screen / "wells", tmp_path / "out", settings=settings)
    found, whole = (pl.read_csv(at / "sweep.csv") for at in (tmp_path / "out", swept))
    assert found["verdict"][0] == "of the first call"  # it was not computed again
    assert found[1:].equals(whole[1:])
    files = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert files == ["artefact.json", "choosing.csv", "reporting.csv", "sweep.csv"]


def test_components_are_tried_where_a_method_has_them():
    settings = SweepSettings("a", ("none", "tvn(ridge=1):batch", "sphering"), ("8", "64", "all"))
    assert [trial.name for trial in list_trials(settings, 64)] == [
        "none",
        "tvn(ridge=1, components=8):batch",
        "tvn(ridge=1, components=all):batch",  # 64 of 64 features are all
        "sphering",
    ]
    # The second method has as many features as the first one keeps, and chooses by them.
    chain = list_trials(SweepSettings("a", ("pca-center-scale then tvn:",), ("8",)), 64)
    assert [trial.name for trial in chain] == ["pca-center-scale(components=8) then tvn:"]
    first, *others = list_trials(SweepSettings("a", ("tvn",), batch=""), 9)
    assert first.settings == CorrectSettings("tvn(components=auto)", None)
    assert [trial.name for trial in others] == ["tvn(components=all)"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"methods": ("combat",)},
            r"methods combat: batch plate: there is no method 'combat': use",
        ),
        ({"methods": ("tvn(ridge=0)",)}, r"ridge must be above 0, not 0"),
        ({"methods": ("tvn", "tvn")}, r"methods has tvn\(components=128\) twice: give it once"),
        ({"methods": ()}, "methods and components must have at least one value each"),
        (
            {"components": ("0",)},
            "components must be whole numbers of at least 1, auto or all, not 0",
        ),
        (
            {"components": ("few",)},
            "components must be whole numbers of at least 1, auto or all, not ",
        ),
        ({"resamples": 0}, "resamples must be at least 1, not 0"),
        ({"low": 0.9, "high": 0.1}, "must be fractions of all pairs with"),
        ({"by": "guide"}, "by must be one of"),
    ],
)
def test_settings_that_will_not_do(given, message):
    with pytest.raises(ValueError, match=message):
        SweepSettings("annotations", **given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"batch": "day"}, r"^center-scale: .*batch day: there is no such column"),
        ({"low": 0.0005}, r"^center-scale: map.h5ad has 48 genes, too few"),
        ({"by": "compound"}, "has no well with a compound: choose another column for by"),
    ],
)
def test_a_sweep_that_fails_says_what_failed_and_leaves_nothing(screen, tmp_path, given, message):
    settings = SweepSettings(screen / "pairs.csv", ("center-scale",), **given)
    with pytest.raises(ValueError, match=message):
        sweep(screen / "wells", tmp_path / "out", settings=settings)
    assert not list(tmp_path.iterdir())


def test_wells_as_they_are_alone(screen, tmp_path, capsys):
    settings = SweepSettings(screen / "pairs.csv", ("none",), resamples=10)
    found = sweep(screen / "wells", tmp_path / "out", settings=settings)
    assert found.chosen == "none"
    assert found.to_polars("sweep")["batch_accuracy"].to_list() == [None]
    assert capsys.readouterr().out.splitlines()[-1].startswith("chosen: none, by the recall of")
