"""How alike a perturbation's wells are, against brute force, the golden case and chance."""

from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics.pairwise import cosine_similarity

from phenomae.maps.consistency import compare_with_controls, mean_cosines
from phenomae.maps.control_groups import draw_any, draw_matched, plate_patterns
from phenomae.maps.p_values import p_values


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def brute_force(rows: np.ndarray, groups: np.ndarray, count: int) -> list[float]:
    means = []
    for group in range(count):
        cosines = cosine_similarity(rows[groups == group]) if (groups == group).any() else []
        pairs = [cosines[one, two] for one, two in combinations(range(len(cosines)), 2)]
        means.append(np.mean(pairs) if pairs else np.nan)
    return means


@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 9), st.integers(1, 6))
@settings(max_examples=40, deadline=None)
def test_the_closed_form_is_the_mean_over_pairs(seed, wells, features, count):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(wells, features))
    groups = rng.integers(-1, count, wells)
    found = mean_cosines(unit(rows), groups, count)
    np.testing.assert_allclose(found, brute_force(rows, groups, count), atol=1e-12)


def test_the_same_wells_have_1_and_opposite_ones_minus_1():
    rows = np.array([[3.0, 4], [3, 4], [1, 2], [-1, -2], [5, 0]])
    found = mean_cosines(unit(rows), np.array([0, 0, 1, 1, 2]), 4)
    np.testing.assert_allclose(found, [1, -1, np.nan, np.nan], atol=1e-15)


def test_the_golden_case(golden_case: Callable[[str], Path]):
    wells = pl.read_parquet(golden_case("map") / "wells.parquet")
    rows = wells.select(pl.col("^feature_.*$")).to_numpy().astype(np.float64)
    batches, control = wells["batch"].to_numpy(), (wells["gene"] == "NTC").to_numpy()
    for batch in np.unique(batches):  # center-scale by batch
        of_batch = batches == batch
        controls = rows[of_batch & control]
        rows[of_batch] = (rows[of_batch] - controls.mean(axis=0)) / controls.std(axis=0)
    expected = pl.read_csv(golden_case("map") / "expected_replicates.csv")
    code = {gene: index for index, gene in enumerate(expected["gene"])}
    groups = np.array([code.get(gene, -1) for gene in wells["gene"]])
    found = mean_cosines(unit(rows), groups, len(code))
    np.testing.assert_allclose(found, expected["mean_cosine"].to_numpy(), atol=1e-5)


@given(st.integers(0, 2**32))
@settings(max_examples=15, deadline=None)
def test_turning_all_wells_and_scaling_each_change_nothing(seed):
    rng = np.random.default_rng(seed)
    rows, plates = rng.normal(size=(40, 4)) + 0.3, np.repeat(np.arange(4), 10)
    groups, control = np.tile([0, 0, 1, 1, 2, 2, -1, -1, -1, -1], 4), np.tile(np.arange(10) > 5, 4)
    turn = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    turned = rows * rng.uniform(0.1, 9, size=(40, 1)) @ turn
    one, two = (
        compare_with_controls(unit(table), groups, 3, plates, control, draws=50)
        for table in (rows, turned)
    )
    np.testing.assert_allclose(one.values, two.values, atol=1e-12)
    np.testing.assert_array_equal(one.p, two.p)


def test_p_values_by_hand():
    null = np.array([0.1, 0.2, 0.2, np.nan, 0.4])
    found = p_values(np.array([0.5, 0.4, 0.2 + 1e-12, 0.15, 0.0, np.nan]), null)
    np.testing.assert_allclose(found, [1 / 5, 2 / 5, 4 / 5, 4 / 5, 1, np.nan])


@given(
    st.lists(st.integers(-4, 4), min_size=1, max_size=9),
    st.lists(st.integers(-4, 4), min_size=1, max_size=20),
)
def test_p_values_count_null_values(observed, null):
    wanted = [(sum(other >= value for other in null) + 1) / (len(null) + 1) for value in observed]
    found = p_values(np.array(observed) / 4, np.array(null) / 4)
    np.testing.assert_allclose(found, wanted)


def test_labels_that_mean_nothing_have_uniform_p_values():
    """A screen with plate effects, its labels dealt out anew 200 times."""
    rng = np.random.default_rng(5)
    plates = np.repeat(np.arange(4), 40)
    rows = unit(rng.normal(size=(160, 6)) + 0.7 * rng.normal(size=(4, 6))[plates])
    found = []
    for _ in range(200):
        groups = rng.permutation(np.repeat([0, -1], [6, 154]))
        result = compare_with_controls(rows, groups, 1, plates, groups < 0, draws=200)
        assert result.loose == 0
        found.append(result.p[0])
    assert stats.kstest(found, "uniform").pvalue > 0.01


def test_a_planted_effect_is_found_and_seeds_say_the_same_again():
    rng = np.random.default_rng(0)
    plates, groups = np.tile(np.arange(4), 20), np.repeat([0, 1, -1, -1, -1], 16)
    rows = rng.normal(size=(80, 8))
    rows[groups == 0] += 3
    made = [
        compare_with_controls(unit(rows), groups, 2, plates, groups < 0, draws=300, seed=seed)
        for seed in (7, 7, 8)
    ]
    assert made[0].p[0] == 1 / 301
    assert made[0].p[1] > 0.05
    np.testing.assert_array_equal(made[0].p, made[1].p)
    assert made[0].p[1] != made[2].p[1]


def test_the_null_of_a_pattern_is_the_same_whatever_else_is_in_the_screen():
    rng = np.random.default_rng(1)
    plates, control = np.tile(np.arange(4), 12), np.arange(48) >= 16
    rows = unit(rng.normal(size=(48, 5)))
    groups = np.where(control, -1, np.arange(48) // 8)
    both = compare_with_controls(rows, groups, 2, plates, control, draws=100)
    groups[:3], groups[3:8] = -1, 0
    other = compare_with_controls(rows, groups, 2, plates, control, draws=100)
    assert both.p[1] == other.p[1]
    assert both.values[1] == other.values[1]


def test_patterns_are_wells_by_plate():
    groups = np.array([0, 0, 0, 1, 1, -1, 3])
    plates = np.array([5, 2, 5, 1, 0, 0, 3])
    assert plate_patterns(groups, plates, 4) == [(2, 1), (1, 1), (), (1,)]


def test_drawn_controls_lie_on_plates_as_asked():
    plates = np.repeat(np.arange(5), [1, 2, 3, 3, 6])
    drawn = draw_matched(plates, (3, 2, 1), 500, 0)
    assert drawn is not None
    assert drawn.shape == (500, 6)
    for group in drawn:
        assert len(set(group)) == 6
        parts = [set(plates[part]) for part in (group[:3], group[3:5], group[5:])]
        assert [len(part) for part in parts] == [1, 1, 1]
        assert len(set.union(*parts)) == 3
    # Every plate that can give a part does: 3 of plates 2, 3, 4, each as often as the others.
    counts = np.bincount(plates[drawn[:, 0]], minlength=5)
    assert counts[:2].tolist() == [0, 0]
    assert stats.chisquare(counts[2:]).pvalue > 0.01
    assert (
        stats.chisquare(np.bincount(drawn[plates[drawn[:, 0]] == 4, :3].ravel())[9:]).pvalue > 0.01
    )


def test_controls_that_cannot_give_a_pattern():
    plates = np.repeat(np.arange(3), [2, 2, 1])
    assert draw_matched(plates, (2, 2, 1), 10, 0) is not None
    for pattern in ((3,), (2, 2, 2), (1, 1, 1, 1)):
        assert draw_matched(plates, pattern, 10, 0) is None
    drawn = draw_any(5, (2, 2, 2), 200, 0)
    assert drawn.shape == (200, 2)  # half of the controls at most
    assert len({tuple(sorted(group)) for group in drawn.tolist()}) == 10
    assert draw_any(2, (1, 1, 1), 3, 0).shape == (3, 2)


def test_few_controls_give_no_small_p_values_and_are_counted():
    rows = unit(np.array([[1.0, 0], [1, 0.01], [1, 0], [0, 1], [1, 1], [1, 0], [1, 0]]))
    plates = np.array([0, 0, 0, 0, 0, 1, 2])
    groups = np.array([0, 0, -1, -1, -1, 1, 1])
    control = groups < 0
    found = compare_with_controls(rows, groups, 2, plates, control, draws=999)
    # Three controls make three pairs; two wells on two plates no controls can match.
    np.testing.assert_allclose(found.p, 1 / 4)
    assert found.loose == 1


def test_rows_of_controls_or_of_one_well_have_no_p_value():
    rows = unit(np.arange(12.0).reshape(6, 2) + 1)
    groups, control = np.array([0, 0, 0, 0, 1, 2]), np.array([True] * 4 + [False] * 2)
    found = compare_with_controls(rows, groups, 3, np.zeros(6, int), control)
    assert found.values[0] > 0.9
    assert np.isnan(found.values[1:]).all()
    assert np.isnan(found.p).all()


@pytest.mark.parametrize("controls", [0, 1])
def test_controls_are_needed(controls):
    control = np.arange(4) < controls
    with pytest.raises(ValueError, match=f"needs control wells, but there are {controls}: set"):
        compare_with_controls(np.eye(4), np.zeros(4, int), 1, np.zeros(4, int), control)
