"""The linear probe: which wells are held out and asked, what is told, block by block."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from phenomae.artefacts import Origin, artefact_folder
from phenomae.evaluation.questions.batch_folds import (
    assign_folds,
    draw_wells,
    each_fold,
    repeated_labels,
)
from phenomae.evaluation.questions.block_search import find_blocks, probe_blocks
from phenomae.evaluation.questions.linear_probe import LinearProbeSettings, probe_wells
from phenomae.records import WELL_COLUMNS
from phenomae.wells import Profiles, write_plate

HERE = Path("WELLS")
NORMAL = np.random.default_rng(3).normal(size=(8, 3))


def make_wells(
    features: np.ndarray, names: list[str | None], batches: list[str | None]
) -> Profiles:
    """Wells of one plate a batch; those named NTC are controls."""
    count = len(features)
    absent = {name: [None] * count for name in WELL_COLUMNS}
    columns = {
        "plate": [batch or "P" for batch in batches],
        "well": [f"A{row + 1:02d}" for row in range(count)],
        "perturbation": names,
        "batch": batches,
        "control": [name == "NTC" for name in names],
    }
    table = pl.DataFrame(absent | columns, schema=WELL_COLUMNS)
    return Profiles(table, features.astype(np.float32), "")


@pytest.fixture(scope="module")
def planted() -> Profiles:
    """Six perturbations on six batches, two wells on each, and as many controls."""
    rng = np.random.default_rng(0)
    names = [f"g{row % 6}" for row in range(72)] + ["NTC"] * 12
    batches = [f"B{row // 12}" for row in range(72)] + [f"B{row // 2}" for row in range(12)]
    features = rng.normal(size=(84, 8))
    features[:72] += 1.5 * rng.normal(size=(6, 8))[np.arange(72) % 6]
    order = np.argsort(batches, kind="stable")
    return make_wells(
        features[order], [names[row] for row in order], [batches[row] for row in order]
    )


def test_every_part_against_scikit_learn(planted):
    chosen = LinearProbeSettings(folds=3, penalty=0.5)
    table = probe_wells(planted, HERE, chosen)
    columns = "fold accuracy balanced chance names wells batches"
    assert table.columns == columns.split()
    keep = ~planted.table["control"].to_numpy()
    features = planted.features[keep].astype(np.float64)
    labels = planted.table["perturbation"].to_numpy()[keep]
    batches = np.unique(planted.table["batch"].to_numpy()[keep], return_inverse=True)[1]
    parts = assign_folds(batches, 3, 0)
    for fold in range(3):
        train = parts != fold
        center, spread = features[train].mean(axis=0), features[train].std(axis=0)
        scaled = (features - center) / spread
        model = LogisticRegression(C=2, max_iter=1000).fit(scaled[train], labels[train])
        told = model.predict(scaled[~train])
        row = table.row(fold, named=True)
        assert row["accuracy"] == pytest.approx(accuracy_score(labels[~train], told))
        assert row["balanced"] == pytest.approx(balanced_accuracy_score(labels[~train], told))
        assert (row["names"], row["wells"], row["batches"]) == (6, 24, 2)
        assert row["chance"] == pytest.approx(1 / 6)
    assert table["accuracy"].mean() > 0.6


def test_names_that_were_shuffled_are_told_as_often_as_chance_says(planted):
    rng = np.random.default_rng(1)
    names = pl.Series([f"g{row % 6}" for row in rng.permutation(84)])
    table = planted.table.with_columns(perturbation=names, control=pl.lit(False))
    found = probe_wells(Profiles(table, planted.features, ""), HERE)
    assert len(found) == 5
    assert abs(found["accuracy"].mean() - 1 / 6) < 0.12  # 84 wells: standard error .04


def test_scaling_every_feature_changes_nothing(planted):
    scale = np.float32(2) ** np.arange(-3, 5)
    moved = Profiles(planted.table, planted.features * scale + np.float32(1), "")
    found = probe_wells(moved, HERE).drop("fold").to_numpy()
    np.testing.assert_allclose(found, probe_wells(planted, HERE).drop("fold").to_numpy())


def test_chance_is_that_of_guessing_by_shares_where_the_commonest_is_held_out_less():
    names, batches = [*"aab", *"abb"], [*"BBB", *"CCC"]
    table = probe_wells(make_wells(NORMAL[:6], names, batches), HERE)
    # Fitted on two of one and one of the other, asked about one of the first and two of the other.
    assert table["chance"].to_list() == pytest.approx([2 / 3 * 1 / 3 + 1 / 3 * 2 / 3] * 2)


def test_chance_is_that_of_the_commonest_name_and_balanced_the_mean_over_names():
    # b is commonest in either batch; a and b lie apart, so that all but c are told.
    names = ["a", "b", "b", "b", "c"] * 2
    features = np.array([[5.0, 0], [-5, 0], [-5, 1], [-5, -1], [-5, 0]] * 2)
    table = probe_wells(make_wells(features, names, ["B1"] * 5 + ["B2"] * 5), HERE)
    assert table["chance"].to_list() == [3 / 5] * 2
    assert table["accuracy"].to_list() == [4 / 5] * 2
    assert table["balanced"].to_list() == pytest.approx([2 / 3] * 2)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(2, 6))
def test_batches_are_dealt_whole_and_evenly(seed, batches, folds):
    rng = np.random.default_rng(seed)
    of_wells = rng.integers(batches, size=40)
    parts = assign_folds(of_wells, folds, seed)
    pairs = {(int(batch), int(part)) for batch, part in zip(of_wells, parts, strict=True)}
    distinct = len(np.unique(of_wells))
    assert len(pairs) == distinct
    sizes = np.bincount([part for _, part in pairs], minlength=folds)
    assert sizes.max() - sizes.min() <= 1
    for train, asked in each_fold(rng.integers(4, size=40), parts):
        assert not (train & asked).any()
        assert not set(of_wells[train]) & set(of_wells[asked])


def test_wells_whose_name_is_nowhere_else_are_not_asked():
    labels, parts = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 1, 0, 1, 1, 1])
    found = [(train.tolist(), asked.tolist()) for train, asked in each_fold(labels, parts)]
    assert [np.flatnonzero(asked).tolist() for _, asked in found] == [[0, 2], [1, 3]]
    assert list(each_fold(np.zeros(6, int), parts)) == []


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32))
def test_a_draw_takes_alike_many_of_each_name_from_as_many_batches_as_can_be(seed):
    rng = np.random.default_rng(seed)
    labels, batches = rng.integers(-1, 6, size=60), rng.integers(4, size=60)
    many = [name for name in range(6) if len(set(batches[labels == name])) > 1]
    assert repeated_labels(labels, batches).tolist() == many
    drawn = draw_wells(labels, batches, 3, 12, seed)
    names = np.unique(drawn[drawn >= 0]).tolist()
    assert len(names) == min(3, len(many))
    for name in names:
        assert (labels[drawn == name] == name).all()
        most = 12 // len(names)
        assert (drawn == name).sum() == min(most, (labels == name).sum())
        assert len(set(batches[drawn == name])) == min(most, len(set(batches[labels == name])))
    np.testing.assert_array_equal(draw_wells(labels, batches, 3, 12, seed), drawn)


def test_other_seeds_draw_others(planted):
    drawn = [
        probe_wells(planted, HERE, LinearProbeSettings(max_names=3, max_wells=30, seed=seed))
        for seed in (0, 0, 1)
    ]
    assert drawn[0].equals(drawn[1])
    assert not drawn[0].equals(drawn[2])
    assert drawn[0]["wells"].sum() == 30


def test_a_fit_that_is_not_done_is_told(planted, capsys):
    probe_wells(planted, HERE, LinearProbeSettings(iterations=1))
    assert "WELLS: the linear probe did not converge in 1 iterations" in capsys.readouterr().err


def write_blocks(folder: Path, wells: Profiles, numbers: dict[int, np.ndarray]) -> None:
    for number, features in numbers.items():
        path = folder / f"block-{number:02d}" if number else folder
        with artefact_folder(path, Origin("wells", {"block": number})) as made:
            assert made is not None
            for plate in wells.table["plate"].unique():
                rows = (wells.table["plate"] == plate).to_numpy()
                features_of_plate = features[rows].astype(np.float32)
                write_plate(made, wells.table.filter(rows), features_of_plate)


def test_the_best_block_is_named(planted, tmp_path):
    noise = np.random.default_rng(2).normal(size=planted.features.shape)
    folder = tmp_path / "wells"
    blocks = {1: noise, 2: planted.features, 10: planted.features[:, :3] + 2 * noise[:, :3]}
    write_blocks(folder, planted, blocks)
    (folder / "block-notes").mkdir()
    assert list(find_blocks(folder)) == [1, 2, 10]
    table = probe_blocks(folder)
    assert table.columns == ["block", "accuracy", "sd", "balanced", "chance", "folds", "best"]
    assert table.select("block", "best").rows() == [(1, False), (2, True), (10, False)]
    folds = probe_wells(planted, HERE)
    assert table["accuracy"][1] == pytest.approx(folds["accuracy"].to_numpy().mean())
    assert table["sd"][1] == pytest.approx(np.std(folds["accuracy"].to_numpy(), ddof=1))
    assert table["folds"].to_list() == [5] * 3


def test_wells_of_one_block_have_one_row(planted, tmp_path):
    write_blocks(tmp_path / "wells", planted, {0: planted.features})
    table = probe_blocks(tmp_path / "wells")
    assert table.select("block", "best").rows() == [(None, True)]


def test_blocks_that_will_not_do(planted, tmp_path):
    folder = tmp_path / "wells"
    write_blocks(folder, planted, {1: planted.features})
    some = planted.table["batch"] != "B5"
    fewer = Profiles(planted.table.filter(some), planted.features[some.to_numpy()], "")
    write_blocks(folder, fewer, {2: fewer.features})
    with pytest.raises(ValueError, match=r"block-02 has other wells than .*block-01: embed all bl"):
        probe_blocks(folder)
    with pytest.raises(ValueError, match="absent"):
        probe_blocks(tmp_path / "absent")
    (folder / "block-03.partial").mkdir()
    with pytest.raises(ValueError, match=r"block-03.partial is not finished: run embed again"):
        probe_blocks(folder)


@pytest.mark.parametrize(
    ("names", "batches", "sentence"),
    [
        (
            [*"aabbccdd"],
            ["B"] * 8,
            "WELLS has wells of a single batch, but the linear probe is",
        ),
        ([*"aabbccdd"], [None] * 8, "WELLS has wells of a single batch"),
        (
            [*"abcdefgh"],
            [*"BBBBCCCC"],
            "WELLS has 0 names in the column perturbation with wells in two",
        ),
        (
            [*"aabcdefg"],
            [*"BCBBCCCC"],
            "WELLS has 1 names in the column perturbation with wells in two",
        ),
        (["NTC"] * 8, [*"BBBBCCCC"], "has no treated well with a perturbation: fill the column"),
    ],
)
def test_wells_that_will_not_do(names, batches, sentence):
    with pytest.raises(ValueError, match=sentence):
        probe_wells(make_wells(NORMAL, names, batches), HERE)


def test_columns_features_and_parts_that_will_not_do(planted):
    with pytest.raises(ValueError, match=r"batch day: WELLS has no such column; it has .'plate'"):
        probe_wells(planted, HERE, LinearProbeSettings(batch="day"))
    broken = Profiles(planted.table, planted.features * np.float32(np.nan), "")
    with pytest.raises(ValueError, match="WELLS has features that are NaN, empty or infinite"):
        probe_wells(broken, HERE)
    # Names whose two batches are dealt to one part.
    together = assign_folds(np.arange(4), 2, 0)
    one, two = np.flatnonzero(together == 0), np.flatnonzero(together == 1)
    batches = [f"B{batch}" for batch in (*one, *one, *two, *two)]
    wells = make_wells(NORMAL, [*"aabbccdd"], batches)
    with pytest.raises(ValueError, match="no perturbation has wells in two of the 2 folds of the"):
        probe_wells(wells, HERE, LinearProbeSettings(folds=2))


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"folds": 1}, "folds must be at least 2, not 1"),
        ({"max_names": 1}, "max_names must be at least 2, not 1"),
        ({"max_wells": 150}, "max_wells must be at least 200, not 150"),
        ({"iterations": 0}, "iterations must be at least 1, not 0"),
        ({"penalty": 0}, "penalty must be above 0, not 0"),
    ],
)
def test_settings_that_will_not_do(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        LinearProbeSettings(**wrong)
