"""Lists of names: cosines of scikit-learn over all pairs, and random lists counted one by one."""

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import percentileofscore
from sklearn.metrics.pairwise import cosine_similarity

from phenomae.evaluation.name_lists import compare_with_random_lists, nearest_to_list
from phenomae.maps.unit_vectors import unit_rows

ROWS = 40


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    made = np.random.default_rng(0).normal(size=(ROWS, 6))
    made[:5] += 2 * made[0]  # a group
    return made


@pytest.mark.parametrize("size", [2, 3, 17, ROWS])
def test_the_mean_cosine_is_that_over_all_pairs(features, size):
    rows = np.random.default_rng(1).permutation(ROWS)[:size]
    found = compare_with_random_lists(unit_rows(features), rows, draws=1)
    between = cosine_similarity(features)
    wanted = np.mean([between[a, b] for a, b in combinations(rows, 2)])
    assert found.mean_cosine == pytest.approx(wanted, abs=1e-12)


def test_the_p_value_is_the_share_of_random_lists_that_are_as_alike(features):
    unit = unit_rows(features)
    group = compare_with_random_lists(unit, np.arange(5), draws=200)
    assert group.p == pytest.approx(1 / 201)
    some = compare_with_random_lists(unit, np.array([3, 20, 30]), draws=200)
    as_alike = 200 * (1 - percentileofscore(some.random, some.mean_cosine, kind="strict") / 100)
    assert some.p == pytest.approx((1 + as_alike) / 201)
    assert 0.01 < some.p < 0.99


def test_random_lists_of_two_are_drawn_from_all_pairs(features):
    """Their mean is that of all pairs of the map, and they are no other numbers than those."""
    found = compare_with_random_lists(unit_rows(features), np.array([0, 9]), draws=4000)
    pairs = cosine_similarity(features)[np.triu_indices(ROWS, k=1)]
    nearest = np.abs(found.random[:, None] - pairs).min(axis=1)
    assert nearest.max() < 1e-12
    assert abs(found.random.mean() - pairs.mean()) < 4 * pairs.std() / np.sqrt(4000)


def test_a_list_of_the_whole_map_is_as_alike_as_every_random_list(features):
    assert compare_with_random_lists(unit_rows(features), np.arange(ROWS), draws=50).p == 1


def test_random_lists_are_those_of_the_seed(features):
    unit, rows = unit_rows(features), np.arange(4)
    first, again, other = (
        compare_with_random_lists(unit, rows, draws=20, seed=seed).random for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).all()


def test_the_nearest_to_a_list_are_nearest_to_its_mean(features):
    unit, rows = unit_rows(features), np.array([4, 0, 2])
    found, cosines = nearest_to_list(unit, rows, 7)
    wanted = cosine_similarity(unit[rows].mean(axis=0, keepdims=True), features)[0]
    wanted[rows] = -2
    assert found.tolist() == np.argsort(-wanted)[:7].tolist()
    np.testing.assert_allclose(cosines, wanted[found], atol=1e-12)
    everything, _ = nearest_to_list(unit, rows, ROWS)
    assert sorted({*everything.tolist(), *rows.tolist()}) == list(range(ROWS))
    assert len(everything) == ROWS - 3


def test_opposite_profiles_have_no_mean_to_be_near_to(features):
    unit = unit_rows(np.concatenate([features[:1], -features[:1], features]))
    found, cosines = nearest_to_list(unit, np.array([0, 1]), 5)
    assert found.shape == cosines.shape == (0,)


def test_equal_cosines_are_in_the_order_of_the_map():
    unit = unit_rows(np.array([[1.0], [3.0], [-2.0], [0.5], [2.0]]))
    found, cosines = nearest_to_list(unit, np.array([1]), 3)
    assert found.tolist() == [0, 3, 4]
    assert cosines.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [([], "needs 2 names"), ([3], "and it has 1"), ([3, 5, 3], "more than once")],
)
def test_a_list_that_cannot_be_compared_is_refused(features, rows, sentence):
    with pytest.raises(ValueError, match=sentence):
        compare_with_random_lists(unit_rows(features), np.array(rows, dtype=int))
