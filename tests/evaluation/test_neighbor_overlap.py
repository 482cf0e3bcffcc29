"""Overlap of neighbors on two maps: neighbors of scikit-learn, and lists drawn at random."""

import numpy as np
import pytest
from sklearn.metrics import jaccard_score
from sklearn.neighbors import NearestNeighbors

from phenomae.evaluation.neighbors.overlap import NeighborOverlap, compare_neighbors
from phenomae.maps.unit_vectors import unit_rows


def nearest(features: np.ndarray, k: int) -> np.ndarray:
    """Return a mark for each of the `k` nearest rows of each row."""
    graph = NearestNeighbors(n_neighbors=k, metric="cosine", algorithm="brute").fit(features)
    return graph.kneighbors_graph().toarray().astype(bool)  # without the row itself


@pytest.mark.parametrize("k", [1, 5, 10])
def test_the_overlap_is_that_of_the_neighbors_of_scikit_learn(k):
    rng = np.random.default_rng(k)
    features = rng.normal(size=(50, 8))
    other = features[:, :5] + 0.5 * rng.normal(size=(50, 5))
    found = compare_neighbors(unit_rows(features), unit_rows(other), k)
    wanted = jaccard_score(nearest(features, k), nearest(other, k), average="samples")
    assert found.mean == pytest.approx(wanted)
    assert 0.05 < found.mean < 0.9


def test_a_map_agrees_with_itself_wholly():
    unit = unit_rows(np.random.default_rng(0).normal(size=(30, 4)))
    assert compare_neighbors(unit, unit, 10).jaccard.tolist() == [1] * 30
    assert compare_neighbors(unit, unit, 99).k == 29


@pytest.mark.parametrize("width", [1, 4])
def test_ties_agree_as_often_as_chance_has_it(width):
    """Maps of one feature, whose cosines are 1 or -1, and maps whose rows are all the same."""
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, 400, width)) if width == 1 else np.ones((2, 400, width))
    found = compare_neighbors(unit_rows(one), unit_rows(other), 10)
    # On a map of one feature half of the rows are ties: on both, a quarter of the pairs.
    both = np.sign(one[:, 0]), np.sign(other[:, 0])
    drawn = [
        [rng.choice(np.setdiff1d(np.flatnonzero(s == s[row]), row), 10, False) for s in both]
        for row in range(400)
    ]
    wanted = [len({*a} & {*b}) / len({*a} | {*b}) for a, b in drawn]
    error = np.hypot(np.std(wanted), np.std(found.jaccard)) / np.sqrt(400)
    assert abs(found.mean - np.mean(wanted)) < 4 * error
    assert found.mean < 2 * found.chance


def test_chance_is_the_mean_overlap_of_random_lists():
    rng, k, others = np.random.default_rng(0), 10, 39
    drawn = [
        [set(rng.choice(others, k, replace=False).tolist()) for _ in range(2)] for _ in range(4000)
    ]
    wanted = [len(one & two) / len(one | two) for one, two in drawn]
    error = np.std(wanted) / np.sqrt(len(wanted))
    found = NeighborOverlap(np.zeros(others + 1), k).chance
    assert abs(found - np.mean(wanted)) < 4 * error


def test_chance_of_one_neighbor_is_one_of_the_others():
    assert NeighborOverlap(np.zeros(101), 1).chance == pytest.approx(1 / 100)


def test_maps_of_other_rows_are_refused():
    unit = unit_rows(np.random.default_rng(0).normal(size=(30, 4)))
    with pytest.raises(ValueError, match="same rows, not of 30 and 29"):
        compare_neighbors(unit, unit[1:])
    with pytest.raises(ValueError, match="3 rows or more, and there are 2"):
        compare_neighbors(unit[:2], unit[:2])
