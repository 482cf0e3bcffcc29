"""How batches mix and replicates agree: brute force, planted cases, and the command's table."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenomae.correction.batch_mixing import predict_labels
from phenomae.correction.correct import CorrectSettings, correct
from phenomae.correction.replicate_agreement import measure_agreement
from phenomae.correction.subsample import sample_batches, sample_replicates
from phenomae.wells import read_wells


def cosine(one: np.ndarray, two: np.ndarray) -> float:
    return float(one @ two / np.sqrt((one @ one) * (two @ two)))


def votes(features: np.ndarray, batches: np.ndarray) -> float:
    """The share of wells whose batch their five nearest name, typed out."""
    right = 0
    for well, own in enumerate(features):
        others = [at for at in range(len(features)) if at != well]
        nearest = sorted(others, key=lambda at: -cosine(own, features[at]))[:5]
        named = [batches[at] for at in nearest]
        most = max(named.count(name) for name in named)
        right += next(name for name in named if named.count(name) == most) == batches[well]
    return right / len(features)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 4), st.integers(2, 40))
def test_accuracy_against_brute_force(seed, count, wells):
    rng = np.random.default_rng(seed)
    features, batches = rng.normal(size=(wells, 4)), rng.integers(count, size=wells)
    features += np.eye(4)[batches]
    assert predict_labels(features, batches).accuracy == pytest.approx(votes(features, batches))


def test_chance_is_what_batches_without_meaning_give():
    rng = np.random.default_rng(1)
    features, batches = rng.normal(size=(1500, 5)), np.repeat(["a", "b", "c"], 500)
    found = predict_labels(features, batches)
    assert found.chance == pytest.approx(1 / 3, abs=0.01)
    assert found.accuracy == pytest.approx(1 / 3, abs=0.05)
    shifted = features + np.repeat(np.eye(5)[:3] * 20, 500, axis=0)
    found = predict_labels(shifted - shifted.mean(axis=0), batches)
    assert found.accuracy == 1
    assert found.chance == pytest.approx(1 / 3, abs=0.01)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.integers(3, 30))
def test_agreement_against_brute_force(seed, wells):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(wells, 3))
    names, plates = rng.integers(4, size=wells), rng.integers(3, size=wells)
    hits, chances, alike, unlike = [], [], [], []
    for well in range(wells):
        away = [at for at in range(wells) if plates[at] != plates[well]]
        same = [at for at in away if names[at] == names[well]]
        alike += [cosine(features[well], features[at]) for at in same]
        unlike += [cosine(features[well], features[at]) for at in away if at not in same]
        if same:
            nearest = max(away, key=lambda at: cosine(features[well], features[at]))
            hits.append(nearest in same)
            chances.append(len(same) / len(away))
    found = measure_agreement(features, names, plates)
    if not hits:
        assert found is None
        return
    assert found is not None
    wanted = [len(hits), np.mean(hits), np.mean(chances), np.mean(alike)]
    assert [found.wells, found.nearest, found.chance, found.replicates] == pytest.approx(wanted)
    if unlike:
        assert found.others == pytest.approx(np.mean(unlike))
    else:
        assert found.others is None


def test_agreement_of_many_wells_goes_in_strips():
    names = np.tile(np.arange(700), 2)
    features = np.random.default_rng(0).normal(size=(700, 8))[names]
    found = measure_agreement(features, names, np.repeat(["P1", "P2"], 700))
    assert (found.wells, found.nearest, found.chance) == (1400, 1, pytest.approx(1 / 700))
    assert found.replicates == pytest.approx(1)


def test_wells_of_nothing_but_0_are_like_no_other():
    found = measure_agreement(np.zeros((4, 2)), np.array(list("aabb")), np.array(list("xyxy")))
    assert (found.replicates, found.others) == (0, 0)


def test_an_offset_of_every_plate_is_seen_before_and_not_after(
    make_screen, tmp_path, resign, capsys
):
    wells = make_screen()
    chosen = CorrectSettings("center-scale", "plate", diagnose=True)
    correct(wells, tmp_path / "out", settings=chosen)
    table = pl.read_csv(tmp_path / "out" / "diagnosis.csv")
    rows = {(row["measure"], row["wells"]): row for row in table.iter_rows(named=True)}
    for kind, count in (("controls", 32), ("all", 96)):
        row = rows["kNN batch accuracy", kind]
        assert (row["column"], row["n"], row["before"]) == ("plate", count, 1)
        assert row["after"] < row["chance"] + 0.05 < 0.35
    nearest = rows["replicate retrieval", "perturbed"]
    assert nearest["before"] < 0.5 < 0.8 < nearest["after"]
    assert nearest["chance"] == pytest.approx(2 / 16)  # of 16 wells a plate two are replicates
    assert rows["cosine of replicates", "perturbed"]["after"] > 0.8
    assert abs(rows["cosine of others", "perturbed"]["after"]) < 0.3
    printed = capsys.readouterr().out
    shown = [name for name in table.columns if name not in ("low", "high")]
    assert printed.splitlines()[0].split() == shown
    assert len(printed.splitlines()) == 15
    correct(wells, tmp_path / "out", settings=chosen)  # it is done, and shown again
    assert capsys.readouterr().out == printed
    (tmp_path / "out" / "diagnosis.csv").write_text("measure\n")
    with pytest.raises(ValueError, match=r"out is damaged: diagnosis.csv has changed since"):
        correct(wells, tmp_path / "out", settings=chosen)
    resign(tmp_path / "out")
    with pytest.raises(
        ValueError, match=r"diagnosis.csv is missing or damaged: run correct again with"
    ):
        correct(wells, tmp_path / "out", settings=chosen)


def test_the_table_holds_what_the_measures_give(make_screen, tmp_path):
    wells = make_screen()
    chosen = CorrectSettings("center-scale", "plate", ("tvn:batch",), diagnose=True)
    correct(wells, tmp_path / "out", settings=chosen)
    table = pl.read_csv(tmp_path / "out" / "diagnosis.csv")
    assert table["column"].to_list() == [*["plate"] * 2, *["batch"] * 2, *["plate"] * 11]
    table = table[:7]  # test_explained.py has the others
    for name, folder in (("before", wells), ("after", tmp_path / "out")):
        screen = read_wells(folder)
        control, genes = (screen.table[key].to_numpy() for key in ("control", "gene"))
        features = screen.features.astype(np.float64)
        features -= features[control].mean(axis=0)
        days, plates = (screen.table[key].to_numpy().astype(str) for key in ("batch", "plate"))
        agreement = measure_agreement(
            features[~control], genes[~control].astype(str), plates[~control]
        )
        assert table[name].to_list() == pytest.approx(
            [
                votes(features[control], plates[control]),
                votes(features, plates),
                votes(features[control], days[control]),
                votes(features, days),
                agreement.nearest,
                agreement.replicates,
                agreement.others,
            ],
            abs=1e-6,
        )


@pytest.mark.parametrize("name", [pl.col("plate") + pl.col("well"), pl.lit(None, pl.String)])
def test_what_cannot_be_measured_is_left_empty(make_screen, tmp_path, capsys, name):
    wells = make_screen(batch=pl.lit("one"), gene=pl.when(~pl.col("control")).then(name))
    correct(wells, tmp_path / "out", settings=CorrectSettings("tvn", "batch", diagnose=True))
    table = pl.read_csv(tmp_path / "out" / "diagnosis.csv")
    table = table.filter(~pl.col("measure").str.starts_with("R2"))
    assert table["measure"].to_list() == [
        *["kNN batch accuracy"] * 2,
        "kNN row accuracy",
        "kNN column accuracy",
    ]
    assert table["before"].null_count() == table["chance"].null_count() == 2
    assert "undetermined (one batch, no replicates on two plates)" in (
        (tmp_path / "out/verdict.json").read_text()
    )
    shown = capsys.readouterr()
    assert "no perturbation is on two plates" in shown.err
    assert shown.out.splitlines()[1].split()[-5:] == ["-"] * 5


def test_an_empty_name_is_no_name(make_screen, tmp_path):
    chosen = CorrectSettings("center-scale", "plate", diagnose=True)
    for name, columns in (
        ("plain", {}),
        ("empty", {"perturbation": pl.lit(""), "guide": pl.lit("")}),
    ):
        correct(make_screen(f"{name}.wells", **columns), tmp_path / name, settings=chosen)
    plain, empty = (pl.read_csv(tmp_path / name / "diagnosis.csv") for name in ("plain", "empty"))
    assert empty.equals(plain)


def test_wells_that_are_left_out_are_not_measured(make_screen, tmp_path):
    wells = make_screen(control=pl.col("control") & (pl.col("plate") != "P2"))
    chosen = CorrectSettings("center-scale", "plate", few_controls="drop", diagnose=True)
    correct(wells, tmp_path / "out", settings=chosen)
    assert pl.read_csv(tmp_path / "out" / "diagnosis.csv")["n"].to_list()[:2] == [24, 72]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=300), st.integers(1, 100))
def test_a_sample_of_batches(batches, most):
    labels = np.array([f"b{batch}" for batch in batches])
    rows = sample_batches(labels, most)
    np.testing.assert_array_equal(rows, sample_batches(labels, most))
    assert 0 < len(rows) <= max(most, 1)
    assert len(np.unique(rows)) == len(rows)
    if len(batches) <= most:
        assert len(rows) == len(batches)


def test_a_sample_of_many_batches_has_twenty_wells_of_each_or_more():
    rows = sample_batches(np.repeat([f"b{index}" for index in range(500)], 50))
    _, counts = np.unique(rows // 50, return_counts=True)
    assert (len(counts), set(counts)) == (100, {20})


def test_a_sample_of_replicates_has_all_wells_of_a_perturbation():
    names = [*np.repeat([f"g{index}" for index in range(300)], 4), *["positive"] * 200]
    names += [f"once {index}" for index in range(500)]
    table = pl.DataFrame({"name": names, "plate": [f"P{at % 4}" for at in range(len(names))]})
    chosen = table[sample_replicates(table, 900)]
    counts = dict(chosen["name"].value_counts().rows())
    assert 850 <= len(chosen) <= 900
    assert set(counts.values()) <= {4, 50}
    assert table[sample_replicates(table, 5000)]["name"].n_unique() == 801
