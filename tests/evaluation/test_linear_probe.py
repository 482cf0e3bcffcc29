"""The linear probe: which wells are left out, what is predicted on them, block by block."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from phenomae.artefacts import artefact_folder
from phenomae.evaluation.questions.batch_folds import (
    assign_folds,
    draw_wells,
    each_fold,
    repeated_labels,
)
from phenomae.evaluation.questions.block_search import find_blocks, predict_blocks, probe_blocks
from phenomae.evaluation.questions.linear_probe import (
    LinearProbeSettings,
    fit_probe,
    probe_wells,
)
from phenomae.records import WELL_COLUMNS
from phenomae.signatures import Origin
from phenomae.wells import Profiles, write_plate

HERE = Path("WELLS")
NORMAL = np.random.default_rng(3).normal(size=(8, 3))


def make_wells(
    features: np.ndarray, names: Sequence[str | None], batches: Sequence[str | None]
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
    columns = "fold accuracy balanced chance names wells groups"
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
        assert (row["names"], row["wells"], row["groups"]) == (6, 24, 2)
        assert row["chance"] == pytest.approx(1 / 6)
    assert table["accuracy"].mean() > 0.6


@pytest.fixture(scope="module")
def compounds() -> tuple[Profiles, str]:
    """Cells of 6 compounds of 3 mechanisms on 4 plates; most cells of a compound are on one."""
    rng = np.random.default_rng(5)
    compound, plate = rng.integers(6, size=90), rng.integers(4, size=90)
    plate = np.where(rng.random(90) < 0.7, compound % 4, plate)
    features = rng.normal(size=(90, 6)) + rng.normal(size=(6, 6))[compound]
    features += 3 * rng.normal(size=(3, 6))[compound % 3]
    names, plates = [f"c{code}" for code in compound], [f"P{code}" for code in plate]
    wells = make_wells(features, names, plates)
    table = wells.table.with_columns(compound=pl.Series(names))
    lines = [f"c{code},m{code % 3}" for code in range(6)]
    return Profiles(table, wells.features, ""), "\n".join(["compound,mechanism", *lines])


def pipeline_of_sklearn():
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))


@pytest.mark.parametrize("column", ["plate", "compound"])
def test_one_plate_or_compound_left_out_is_leave_one_group_out_of_scikit_learn(
    compounds, column, tmp_path
):
    wells, lines = compounds
    (tmp_path / "known.csv").write_text(lines)
    chosen = LinearProbeSettings(
        by="mechanism", mechanisms=tmp_path / "known.csv", leave_out=(column,), folds=100
    )
    found = fit_probe(wells, HERE, chosen)
    names = np.array([f"m{int(name[1:]) % 3}" for name in wells.table["compound"]])
    groups = wells.table[column].to_numpy()
    expected = cross_val_predict(
        pipeline_of_sklearn(),
        wells.features.astype(np.float64),
        names,
        groups=groups,
        cv=LeaveOneGroupOut(),
    )
    wells_of = dict(found.predictions.select("well", pl.struct("name", "predicted")).rows())
    for well, name, predicted in zip(wells.table["well"], names, expected, strict=True):
        assert wells_of[well] == {"name": name, "predicted": predicted}
    assert found.balanced == pytest.approx(balanced_accuracy_score(names, expected))
    assert found.balanced > 0.5  # so that the probe has found something
    assert len(found.folds) == len(np.unique(groups))
    assert found.folds["groups"].to_list() == [1] * len(found.folds)


def test_plates_and_compounds_left_out_together(compounds, tmp_path):
    wells, lines = compounds
    (tmp_path / "known.csv").write_text(lines)
    both = LinearProbeSettings(
        by="mechanism",
        mechanisms=tmp_path / "known.csv",
        leave_out=("compound", "plate"),
        folds=100,
    )
    found = fit_probe(wells, HERE, both)
    names = np.array([f"m{int(name[1:]) % 3}" for name in wells.table["compound"]])
    compound, plate = wells.table["compound"].to_numpy(), wells.table["plate"].to_numpy()
    expected: dict[str, str] = {}
    for one, other in sorted({*zip(compound, plate, strict=True)}):
        train, asked = (compound != one) & (plate != other), (compound == one) & (plate == other)
        if names[asked][0] not in names[train]:
            continue
        model = pipeline_of_sklearn().fit(wells.features[train].astype(np.float64), names[train])
        predicted = model.predict(wells.features[asked].astype(np.float64))
        expected |= zip(wells.table["well"].filter(pl.Series(asked)), predicted, strict=True)
    assert dict(found.predictions.select("well", "predicted").rows()) == expected
    true = dict(zip(wells.table["well"], names, strict=True))
    balanced = balanced_accuracy_score([true[well] for well in expected], [*expected.values()])
    assert found.balanced == pytest.approx(balanced)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 4), st.integers(2, 9))
def test_no_training_well_shares_a_value_with_a_validation_well(seed, first, second):
    rng = np.random.default_rng(seed)
    columns = [rng.integers(6, size=50), rng.integers(5, size=50)]
    parts = [
        assign_folds(codes, folds, seed)
        for codes, folds in zip(columns, (first, second), strict=True)
    ]
    labels, times = rng.integers(3, size=50), np.zeros(50, int)
    for train, asked in each_fold(labels, parts):
        assert all(not {*codes[train]} & {*codes[asked]} for codes in columns)
        assert {*labels[asked]} <= {*labels[train]}
        times += asked
    assert times.max() <= 1


def test_wells_whose_name_no_training_well_has_are_counted(capsys):
    # a, b and c are on both plates of both batches; d is on all but plate Q of batch C.
    cells = [(name, batch, plate) for name in "abcd" for batch in "BC" for plate in "PQ"]
    names, batches, plates = zip(*(cell for cell in cells if cell != ("d", "C", "Q")), strict=True)
    wells = make_wells(np.random.default_rng(1).normal(size=(15, 3)), [*names], [*batches])
    table = wells.table.with_columns(plate=pl.Series(plates))
    both = LinearProbeSettings(leave_out=("batch", "plate"))
    found = fit_probe(Profiles(table, wells.features, ""), HERE, both).predictions
    # The wells with d of another batch and another plate than B, P would be those of C, Q.
    missing = table.join(found, on="well", how="anti").select("perturbation", "batch", "plate")
    assert missing.rows() == [("d", "B", "P")]
    sentence = "WELLS: wells not classified, as no training well has their perturbation: 1\n"
    assert capsys.readouterr().err == sentence


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
    for train, asked in each_fold(rng.integers(4, size=40), [parts]):
        assert not (train & asked).any()
        assert not set(of_wells[train]) & set(of_wells[asked])


def test_wells_whose_name_is_nowhere_else_are_not_asked():
    labels, parts = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 1, 0, 1, 1, 1])
    found = [(train.tolist(), asked.tolist()) for train, asked in each_fold(labels, [parts])]
    assert [np.flatnonzero(asked).tolist() for _, asked in found] == [[0, 2], [1, 3]]
    assert list(each_fold(np.zeros(6, int), [parts])) == []


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
    marked, predictions = predict_blocks(folder)
    assert marked.equals(table)
    assert predictions.columns == ["block", "fold", "plate", "well", "name", "predicted"]
    for block, balanced in table.select("block", "balanced").rows():
        rows = predictions.filter(pl.col("block") == block)
        assert len(rows) == 72
        assert balanced == pytest.approx(balanced_accuracy_score(rows["name"], rows["predicted"]))
    assert table["sd"][1] == pytest.approx(np.std(folds["accuracy"].to_numpy(), ddof=1))
    assert table["folds"].to_list() == [5] * 3


def test_wells_of_one_block_have_one_row(planted, tmp_path, capsys):
    write_blocks(tmp_path / "wells", planted, {0: planted.features})
    table = probe_blocks(tmp_path / "wells")
    assert "linear probe: 5/5 folds" in capsys.readouterr().err
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
        ([*"aabbccdd"], [None] * 8, "WELLS has no value in the column batch: fill it in the plate"),
        (
            [*"abcdefgh"],
            [*"BBBBCCCC"],
            "WELLS has 0 names in the column perturbation with wells of two values of batch",
        ),
        (
            [*"aabcdefg"],
            [*"BCBBCCCC"],
            "WELLS has 1 name in the column perturbation with wells of two values of batch",
        ),
        (["NTC"] * 8, [*"BBBBCCCC"], "has no treated well with a perturbation: fill the column"),
    ],
)
def test_wells_that_will_not_do(names, batches, sentence):
    with pytest.raises(ValueError, match=sentence):
        probe_wells(make_wells(NORMAL, names, batches), HERE)


def test_columns_features_and_parts_that_will_not_do(planted):
    with pytest.raises(ValueError, match=r"leave_out day: WELLS has no such column; it has .'pl"):
        probe_wells(planted, HERE, LinearProbeSettings(leave_out=("day",)))
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
        ({"leave_out": ()}, "leave_out must be one or more columns, not empty"),
        ({"by": "mechanism"}, "by mechanism needs mechanisms: name a file, or set another by"),
        ({"mechanisms": "known.csv"}, "mechanisms needs by mechanism: set by to mechanism, or"),
    ],
)
def test_settings_that_will_not_do(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        LinearProbeSettings(**wrong)


def test_files_of_mechanisms_that_will_not_do(compounds, tmp_path):
    known = tmp_path / "known.csv"
    chosen = LinearProbeSettings(by="mechanism", mechanisms=known, leave_out=("compound",))
    for text, sentence in (
        ("compound,mechanism\nz1,m1\n", "known.csv: none of its compounds is in WELLS"),
        ("compound,mechanism\nc1,m1\nc1,m2\n", "none of its compounds with one mechanism is in"),
        ("compound,mechanism\nc1,m1\nc2,m2\n", "0 names in the column mechanism with wells of two"),
    ):
        known.write_text(text)
        with pytest.raises(ValueError, match=sentence):
            probe_wells(compounds[0], HERE, chosen)
