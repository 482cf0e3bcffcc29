"""Shuffled names: their recall is chance, their p-values are uniform, hubs stay among hubs."""

import numpy as np
from scipy.stats import kstest

from phenomae.evaluation.recall.cosines import mark_tails
from phenomae.evaluation.recall.permutation import degree_strata, shuffle_rows, shuffled_recalls
from phenomae.evaluation.recall.recall import find_tails
from phenomae.maps.p_values import p_values
from phenomae.maps.unit_vectors import unit_rows


def random_pairs(rng: np.random.Generator, genes: int, count: int) -> np.ndarray:
    pairs = np.unique(np.sort(rng.integers(genes, size=(count, 2)), axis=1), axis=0)
    return pairs[pairs[:, 0] != pairs[:, 1]]


def test_shuffles_average_chance_and_depend_on_seed_and_number_alone():
    rng = np.random.default_rng(5)
    unit = unit_rows(rng.normal(size=(80, 10)))
    pairs = random_pairs(rng, 80, 400)
    for percentiles, chance in (((0.05, 0.95), 0.1), ((0.1, 0.9), 0.2)):
        tails, _ = find_tails(unit, [percentiles], pairs)
        marks = mark_tails(unit, tails.below[0], tails.above[0])
        recalls = shuffled_recalls(marks, pairs, shuffles=200, seed=1)
        np.testing.assert_allclose(recalls.mean(), chance, atol=0.01)
        np.testing.assert_array_equal(shuffled_recalls(marks, pairs, 3, 1), recalls[:3])
        assert not np.array_equal(shuffled_recalls(marks, pairs, 3, 2), recalls[:3])


def test_a_shuffle_is_the_recall_of_a_map_whose_names_were_shuffled():
    rng = np.random.default_rng(6)
    unit = unit_rows(rng.normal(size=(50, 5)))
    pairs = random_pairs(rng, 50, 100)
    tails, _ = find_tails(unit, [(0.1, 0.8)], pairs)
    marks = mark_tails(unit, tails.below[0], tails.above[0])
    order = np.random.default_rng([3, 0]).permutation(50)
    wanted, cosines = find_tails(unit[order], [(0.1, 0.8)], pairs)
    np.testing.assert_allclose(wanted.recall(cosines), shuffled_recalls(marks, pairs, 1, 3))


def test_p_values_of_permuted_names_are_uniform():
    rng = np.random.default_rng(7)
    genes, shuffles = 120, 99
    # Groups of alike rows, so that the null is no binomial.
    features = np.repeat(rng.normal(size=(30, 8)), 4, axis=0) + rng.normal(size=(genes, 8))
    unit, pairs = unit_rows(features), random_pairs(rng, genes, 700)
    tails, _ = find_tails(unit, [(0.05, 0.95)], pairs)
    marks = mark_tails(unit, tails.below[0], tails.above[0])
    null = shuffled_recalls(marks, pairs, shuffles, seed=0)
    observed = shuffled_recalls(marks, pairs, 200, seed=1)
    # Recalls are shares of some 650 pairs and tie now and then; ties are broken at random here,
    # as uniform is said of p-values without them.
    unties = rng.uniform(0, 1e-6, size=(200, shuffles + 1))
    p = [
        p_values(np.array([recall + untie[0]]), null + untie[1:])[0]
        for recall, untie in zip(observed, unties, strict=True)
    ]
    assert kstest(np.array(p) - 0.5 / (shuffles + 1), "uniform").pvalue > 0.01
    # As they are, ties make them larger, never smaller.
    assert (p_values(observed, null) >= p).all()


def test_hubs_change_places_with_hubs():
    pairs = np.array([[0, other] for other in range(1, 9)] + [[9, 10], [10, 11]])
    strata = degree_strata(pairs, count=14)
    # Gene 0 is in eight pairs, 10 in two, 12 and 13 in none, all others in one.
    np.testing.assert_array_equal(strata, [4, *[1] * 8, 1, 2, 1, 0, 0])
    for seed in range(20):
        order = shuffle_rows(14, np.random.default_rng(seed), strata)
        assert sorted(order) == list(range(14))
        np.testing.assert_array_equal(strata[order], strata)
    orders = [tuple(shuffle_rows(14, np.random.default_rng(k), strata)) for k in range(20)]
    assert len(set(orders)) == 20
