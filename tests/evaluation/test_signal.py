"""Consistency and magnitude of perturbations: golden case, formulas, what controls alone give."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from scipy.stats import energy_distance

from phenomae.evaluation.questions import energy_distance as energy_module
from phenomae.evaluation.questions.energy_distance import (
    DrawnEnergies,
    energy_distances,
    mean_within,
)
from phenomae.evaluation.questions.magnitude import compare_magnitude, split_controls
from phenomae.evaluation.questions.signal import SignalSettings, measure_signal, share_active
from phenomae.records import WELL_COLUMNS
from phenomae.wells import Profiles

HERE = Path("WELLS")


def energy(one: np.ndarray, two: np.ndarray) -> float:
    return 2 * cdist(one, two).mean() - cdist(one, one).mean() - cdist(two, two).mean()


def make_wells(features: np.ndarray, perturbations: list[str | None], plates: int = 4) -> Profiles:
    """Wells in turn on the plates; those of the perturbation NTC are controls."""
    absent = {name: [None] * len(features) for name in WELL_COLUMNS}
    places = {
        "plate": [f"P{row % plates}" for row in range(len(features))],
        "well": [f"A{row // plates + 1:02d}" for row in range(len(features))],
        "perturbation": perturbations,
        "control": [name == "NTC" for name in perturbations],
    }
    table = pl.DataFrame(absent | places, schema=WELL_COLUMNS)
    return Profiles(table, features.astype(np.float32), "")


@pytest.fixture(scope="module")
def planted() -> Profiles:
    """Six perturbations of 8 wells, three of which do something, and 80 controls."""
    rng = np.random.default_rng(0)
    names = [f"G{row // 8}" for row in range(48)] + ["NTC"] * 80
    features = rng.normal(size=(128, 10))
    features[:24] += np.repeat(3 * rng.normal(size=(3, 10)), 8, axis=0)
    return make_wells(features, names)


def test_energy_distances_of_many_groups_show_their_progress(monkeypatch, capsys):
    rng = np.random.default_rng(0)
    rows, groups = rng.normal(size=(60, 3)), np.repeat(np.arange(10), 6)
    quiet = energy_distances(rows, groups, 10, rows[:9])
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(energy_module, "_LONG_WORK", 10)
    np.testing.assert_array_equal(energy_distances(rows, groups, 10, rows[:9]), quiet)
    assert "energy distances: 10/10 groups" in capsys.readouterr().err


def test_golden_case(golden_case: Callable[[str], Path]):
    wells = pl.read_parquet(golden_case("map") / "wells.parquet")
    features = wells.select(pl.col("^feature_.*$")).to_numpy().astype(np.float64)
    batches, control = wells["batch"].to_numpy(), (wells["gene"] == "NTC").to_numpy()
    for batch in np.unique(batches):  # center-scale by batch
        rows = batches == batch
        controls = features[rows & control]
        features[rows] = (features[rows] - controls.mean(axis=0)) / controls.std(axis=0)
    expected = pl.read_csv(golden_case("map") / "expected_replicates.csv")[:40]
    code = {gene: row for row, gene in enumerate(expected["gene"])}
    groups = np.array([code.get(gene, -1) for gene in wells["gene"]])
    found = energy_distances(features, groups, 40, features[control][:200])
    wanted = expected["energy_distance_first200_controls"].to_numpy().astype(np.float64)
    assert np.isnan(wanted).sum() == 4  # fewer than 5 wells
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 30), st.integers(1, 5))
def test_energy_distances_against_all_distances_at_once(seed, wells, features):
    rng = np.random.default_rng(seed)
    rows, reference = rng.normal(size=(wells, features)), rng.normal(size=(7, features))
    groups = rng.integers(-1, 3, wells)
    found = energy_distances(rows, groups, 3, reference, min_wells=2)
    for group in range(3):
        if (groups == group).sum() < 2:
            assert np.isnan(found[group])
        else:
            wanted = energy(rows[groups == group], reference)
            np.testing.assert_allclose(found[group], wanted, atol=1e-12)


def test_in_one_dimension_it_is_the_square_of_scipys_energy_distance():
    rng = np.random.default_rng(1)
    one, two = rng.normal(size=9), rng.normal(2, 1, size=12)
    found = energy_distances(one[:, None], np.zeros(9, int), 1, two[:, None])
    np.testing.assert_allclose(found, energy_distance(one, two) ** 2)


def test_distances_do_not_depend_on_the_size_of_blocks(monkeypatch):
    rng = np.random.default_rng(2)
    rows, reference, groups = rng.normal(size=(20, 3)), rng.normal(size=(9, 3)), np.arange(20) // 10
    wanted = energy_distances(rows, groups, 2, reference)
    monkeypatch.setattr("phenomae.evaluation.questions.energy_distance._CELLS", 1)
    np.testing.assert_allclose(energy_distances(rows, groups, 2, reference), wanted)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.1, 10))
def test_magnitude_turns_with_nothing_and_scales_with_the_features(seed, scale):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(60, 4))
    groups, control = np.where(np.arange(60) < 20, np.arange(60) // 10, -1), np.arange(60) >= 20
    turn = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    moved = scale * features @ turn + rng.normal(size=4)
    plates = np.arange(60) % 2
    one = compare_magnitude(features, groups, 2, plates, control, draws=50)
    two = compare_magnitude(moved, groups, 2, plates, control, draws=50)
    np.testing.assert_allclose(two.values, scale * one.values, atol=1e-9)
    np.testing.assert_array_equal(two.p, one.p)


def test_energies_of_drawn_groups_against_all_distances_at_once():
    rng = np.random.default_rng(3)
    pool, reference = rng.normal(size=(15, 4)), rng.normal(size=(11, 4))
    drawn = np.array([rng.permutation(15)[:6] for _ in range(8)])
    found = DrawnEnergies.of(pool, reference).energies(drawn)
    np.testing.assert_allclose(found, [energy(pool[rows], reference) for rows in drawn])
    np.testing.assert_allclose(mean_within(pool), cdist(pool, pool).mean())


def test_controls_are_halved_on_every_plate_and_sampled():
    plates = np.repeat([0, 1, 2], [6, 9, 2])
    reference, pool = split_controls(plates, 100, seed=0)
    assert sorted([*reference, *pool]) == list(range(17))
    assert set(np.bincount(plates[reference], minlength=3) - [3, 4, 1]) <= {0, 1}
    few = split_controls(plates, 4, seed=0)
    assert [len(half) for half in few] == [4, 4]
    assert set(few[0]) <= set(reference)
    assert not np.array_equal(split_controls(plates, 4, seed=1)[0], few[0])


def test_what_was_planted_is_active_and_what_does_nothing_is_not(planted):
    table = measure_signal(planted, HERE)
    columns = "perturbation wells consistency consistency_p magnitude magnitude_p"
    assert table.columns == columns.split()
    assert table["wells"].to_list() == [8] * 6
    for p in ("consistency_p", "magnitude_p"):
        assert (table[p][:3] < 0.01).all()
        assert (table[p][3:] > 0.01).all()
    share = share_active(table, 0.01)
    assert share.rows() == [("consistency", 6, 0.5, 0.5), ("magnitude", 6, 0.5, 0.5)]
    features = planted.features.astype(float)
    unit = features[:8] / np.linalg.norm(features[:8], axis=1, keepdims=True)
    mean = (unit @ unit.T)[np.triu_indices(8, k=1)].mean()
    assert table["consistency"][0] == pytest.approx(mean)
    reference = 48 + split_controls(np.arange(48, 128) % 4, 1000, 0)[0]
    assert table["magnitude"][0] == pytest.approx(energy(features[:8], features[reference]))


def test_controls_called_perturbations_are_active_as_often_as_the_level_says():
    rng = np.random.default_rng(5)
    names = [f"G{row // 6:03d}" for row in range(1200)] + ["NTC"] * 600
    table = measure_signal(
        make_wells(rng.normal(size=(1800, 8)), names), HERE, SignalSettings(draws=400)
    )
    for p in ("consistency_p", "magnitude_p"):
        # 200 of them; the standard error of a share of .2 is .03
        assert abs((table[p] <= 0.2).mean() - 0.2) < 0.09
        assert abs((table[p] <= 0.05).mean() - 0.05) < 0.05
    assert share_active(table)["active_bh"].to_list() == [0, 0]


def test_what_a_plate_adds_to_all_its_wells_is_not_taken_for_an_effect():
    rng = np.random.default_rng(9)
    count, plates = 240, 20
    on = np.concatenate([np.repeat(rng.permutation(plates)[:3], 2) for _ in range(count)])
    where = np.concatenate([on, np.repeat(np.arange(plates), 16)])
    groups = np.concatenate([np.repeat(np.arange(count), 6), np.full(plates * 16, -1)])
    features = rng.normal(size=(len(where), 8)) + 3 * rng.normal(size=(plates, 8))[where]
    found = compare_magnitude(features, groups, count, where, groups < 0, draws=300)
    assert found.loose == 0
    assert (found.p <= 0.05).mean() < 0.09  # 240 of them; the standard error is .014
    assert abs((found.p <= 0.5).mean() - 0.5) < 0.13


def test_adjusted_shares_by_the_formula_of_benjamini_and_hochberg():
    p = np.array([0.001, 0.015, 0.03, 0.04, 0.9])
    table = pl.DataFrame({"consistency_p": [*p, None], "magnitude_p": [None] * 6})
    # The largest k with p(k) <= level k / 5 is 4 at .05; at .03 it is 1, as .015 > .012.
    assert share_active(table).rows() == [
        ("consistency", 5, 0.8, 0.8),
        ("magnitude", 0, None, None),
    ]
    assert share_active(table, 0.03)["active_bh"][0] == 0.2


def test_a_perturbation_of_few_wells_has_no_magnitude():
    rng = np.random.default_rng(6)
    names = ["A"] * 6 + ["B"] * 4 + ["C", None] + ["NTC"] * 20
    table = measure_signal(make_wells(rng.normal(size=(32, 4)), names), HERE)
    assert table["perturbation"].to_list() == ["A", "B", "C"]
    assert table["magnitude"].is_null().to_list() == [False, True, True]
    assert table["consistency_p"].is_null().to_list() == [False, False, True]


def test_unexpressed_names_say_what_chance_gives(planted, tmp_path, capsys):
    names = tmp_path / "unexpressed.txt"
    names.write_text("G3\nG4 \nG9\n\n")
    table = measure_signal(planted, HERE, SignalSettings(unexpressed=names))
    assert "p-value that 2 unexpressed names allow is 0.33" in capsys.readouterr().err
    for measure in ("consistency", "magnitude"):
        values, p = table[measure].to_numpy(), table[f"{measure}_p"]
        assert p[:3].to_list() == [1 / 3] * 3
        assert p[3:5].is_null().all()
        assert p[5] == pytest.approx(((values[3:5] >= values[5]).sum() + 1) / 3)
    assert share_active(table, 0.4)["perturbations"].to_list() == [4, 4]


def test_unexpressed_names_need_no_second_half_of_controls(tmp_path):
    rng = np.random.default_rng(12)
    wells = make_wells(rng.normal(size=(15, 3)), ["A"] * 5 + ["B"] * 5 + ["NTC"] * 5)
    path = tmp_path / "unexpressed.txt"
    path.write_text("B")
    table = measure_signal(wells, HERE, SignalSettings(unexpressed=path))
    rows = wells.features.astype(float)
    wanted = [energy(rows[start : start + 5], rows[10:]) for start in (0, 5)]
    np.testing.assert_allclose(table["magnitude"], wanted)
    assert measure_signal(wells, HERE)["magnitude"].null_count() == 2


def test_few_wells_are_not_active_because_unexpressed_names_have_many(tmp_path):
    rng = np.random.default_rng(11)
    names = [f"n{row // 30}" for row in range(1200)] + [f"G{row // 5:02d}" for row in range(300)]
    wells = make_wells(rng.normal(size=(1600, 6)), names + ["NTC"] * 100)
    path = tmp_path / "unexpressed.txt"
    path.write_text("\n".join(f"n{number}" for number in range(40)))
    table = measure_signal(wells, HERE, SignalSettings(unexpressed=path))
    for measure in ("consistency_p", "magnitude_p"):
        p = table[measure].drop_nulls()
        assert len(p) == 60
        assert abs((p <= 0.5).mean() - 0.5) < 0.2  # the standard error is .065
    assert measure_signal(wells, HERE, SignalSettings(unexpressed=path)).equals(table)


def test_patterns_that_no_controls_have_are_told(capsys):
    rng = np.random.default_rng(7)
    wells = make_wells(rng.normal(size=(40, 3)), ["A"] * 20 + ["NTC"] * 20, plates=2)
    measure_signal(wells, HERE)
    told = capsys.readouterr().err
    assert "compared with controls of any plate: 1" in told
    assert "consistency" not in told


def test_the_same_seed_gives_the_same_table(planted):
    one, two = (measure_signal(planted, HERE, SignalSettings(draws=20)) for _ in range(2))
    assert one.equals(two)
    other = measure_signal(planted, HERE, SignalSettings(draws=20, seed=1))
    assert not other.equals(one)


NORMAL = np.random.default_rng(8).normal(size=(40, 3))
BROKEN = NORMAL.copy()
BROKEN[5] = np.nan


@pytest.mark.parametrize(
    ("features", "names", "sentence"),
    [
        (NORMAL, ["A"] * 39 + ["NTC"], "WELLS has 1 control well, but at least 2 are"),
        (NORMAL, ["A"] * 40, "no magnitude: WELLS has 0 control wells, but at least 10 are needed"),
        (NORMAL, ["NTC"] * 40, "WELLS has no treated well with a perturbation: fill the column"),
        (NORMAL, [f"G{row}" for row in range(20)] + ["NTC"] * 20, "at most 1 well per perturb"),
        (BROKEN, ["A"] * 20 + ["NTC"] * 20, "WELLS has features that are NaN, empty or infinite"),
    ],
)
def test_wells_that_will_not_do(features, names, sentence):
    with pytest.raises(ValueError, match=sentence):
        measure_signal(make_wells(features, names), HERE)


ZEROS = NORMAL.copy()
ZEROS[3] = 0


@pytest.mark.parametrize(
    ("features", "names", "missing", "reason"),
    [
        (NORMAL, [*"ABCDEFGHIJ"] * 2 + ["NTC"] * 20, "magnitude", "2 wells per perturbation"),
        (NORMAL, ["A"] * 20 + ["B"] * 11 + ["NTC"] * 9, "magnitude", "9 control wells, but at"),
        (ZEROS, ["A"] * 20 + ["NTC"] * 20, "consistency", "1 well with a profile that is"),
    ],
)
def test_one_measure_is_reported_if_the_other_cannot_be_computed(
    features, names, missing, reason, capsys
):
    table = measure_signal(make_wells(features, names), HERE)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("no ")]
    assert line.startswith(f"no {missing}: WELLS has ")
    assert reason in line
    assert table[missing].null_count() == table[f"{missing}_p"].null_count() == len(table)
    (other,) = {"consistency", "magnitude"} - {missing}
    assert table[other].null_count() == table[f"{other}_p"].null_count() == 0
    shares = share_active(table)
    assert shares.filter(measure=missing).row(0) == (missing, 0, None, None)
    first = features[[row for row, name in enumerate(names) if name == "A"]].astype(np.float32)
    if other == "consistency":
        unit = first / np.linalg.norm(first, axis=1, keepdims=True)
        expected = (unit @ unit.T)[np.triu_indices(len(unit), k=1)].mean()
    else:
        controls = 20 + split_controls(np.arange(20, 40) % 4, 1000, 0)[0]
        expected = energy(first, features[controls].astype(np.float32))
    assert table[other][0] == pytest.approx(expected, rel=1e-4)


def test_unexpressed_names_of_few_wells_serve_for_consistency_alone(tmp_path, capsys):
    """Without controls, too, which only magnitude needs."""
    names = ["A"] * 10 + ["B"] * 4 + ["C"] * 4 + ["D"] * 22
    path = tmp_path / "unexpressed.txt"
    path.write_text("B\nC\n")
    wells = make_wells(NORMAL, names)
    table = measure_signal(wells, HERE, SignalSettings(unexpressed=path, level=0.4))
    assert "no magnitude: WELLS has 0 control wells, but at least 5" in capsys.readouterr().err
    assert table["magnitude"].null_count() == 4
    unit = NORMAL / np.linalg.norm(NORMAL, axis=1, keepdims=True)
    rows = {name: [row for row, other in enumerate(names) if other == name] for name in "ABCD"}
    means = [
        (unit[its] @ unit[its].T)[np.triu_indices(len(its), k=1)].mean() for its in rows.values()
    ]
    np.testing.assert_allclose(table["consistency"], means, atol=1e-6)
    higher = (np.array(means[1:3]) >= means[0]).sum()
    assert table["consistency_p"].to_list() == [
        (higher + 1) / 3,
        None,
        None,
        pytest.approx(((np.array(means[1:3]) >= means[3]).sum() + 1) / 3),
    ]


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"min_wells": 1}, "min_wells must be at least 2, not 1"),
        ({"max_controls": 1}, "max_controls must be at least 2, not 1"),
        ({"draws": 0}, "draws must be at least 1, not 0"),
        ({"level": 5}, "level must be between 0 and 1 .both excluded., not 5"),
    ],
)
def test_settings_that_will_not_do(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        SignalSettings(**wrong)


def test_unexpressed_names_that_will_not_do(planted, tmp_path):
    names = tmp_path / "unexpressed.txt"
    with pytest.raises(ValueError, match=r"unexpressed.txt is not a readable text file"):
        measure_signal(planted, HERE, SignalSettings(unexpressed=names))
    names.write_text("\n")
    with pytest.raises(
        ValueError, match=r"unexpressed.txt holds no name: expected one gene per line"
    ):
        measure_signal(planted, HERE, SignalSettings(unexpressed=names))
    names.write_text("TP53\n")
    with pytest.raises(ValueError, match="none of its 1 names has at least 5 wells in WELLS"):
        measure_signal(planted, HERE, SignalSettings(unexpressed=names))


def test_distances_within_a_large_group_are_never_all_held(monkeypatch):
    features = np.random.default_rng(9).normal(size=(2000, 3))
    wanted = cdist(features, features).mean()
    monkeypatch.setattr(energy_module, "_CELLS", 20_000)
    tracemalloc.start()
    found = mean_within(features)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == pytest.approx(wanted)
    assert peak < 2e6  # all pairs once are 16 MB
