"""P-values of mean average precision: against all exchanges, and under the null hypothesis."""

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import kstest
from sklearn.metrics import average_precision_score
from sklearn.metrics.pairwise import cosine_similarity

from phenomae.evaluation.questions import exchange_test
from phenomae.evaluation.questions.exchange_test import (
    exchanged_precisions,
    exchanges,
    p_of_groups,
    rank,
)
from phenomae.evaluation.questions.pairing import Pairing
from phenomae.maps.unit_vectors import unit_rows

ALPHAS = (0.01, 0.05, 0.1, 0.5)


def precision_of(cosines: np.ndarray, own: tuple[int, ...], rest: list[int]) -> float:
    """Return the mean average precision of `own`, among `rest`, as scikit-learn computes it."""
    scores = []
    for query in own:
        positives = [other for other in own if other != query]
        labels = [1] * len(positives) + [0] * len(rest)
        scores.append(average_precision_score(labels, cosines[query, positives + rest]))
    return float(np.mean(scores))


def test_p_is_the_share_of_all_exchanges_on_one_plate():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(8, 3))
    features[:3] += 1.2
    cosines = cosine_similarity(features)
    values = {
        own: precision_of(cosines, own, [row for row in range(8) if row not in own])
        for own in combinations(range(8), 3)
    }
    share = np.mean([value >= values[0, 1, 2] - 1e-9 for value in values.values()])
    assert 0.05 < share < 0.5
    groups = np.array([0, 0, 0, -1, -1, -1, -1, -1])
    error = 4 * np.sqrt(share * (1 - share) / 2000)
    for plates in (None, np.zeros(8, int)):
        pairing = Pairing(groups, plates=plates)
        assert p_of_groups(features, pairing, np.array([0]), 2000, 0)[0] == pytest.approx(
            share, abs=error
        )


def test_exchanges_keep_profiles_on_their_plates():
    orders = exchanges((3, 2, 4), 50, 0)
    assert orders.shape == (9, 51)
    assert orders[:, 0].tolist() == list(range(9))
    for low, high in ((0, 3), (3, 5), (5, 9)):
        assert (np.sort(orders[low:high], axis=0) == np.arange(low, high)[:, None]).all()
    assert len(np.unique(orders, axis=1).T) > 30
    # A plate's wells are exchanged with its controls only: features of plates far apart.
    rng = np.random.default_rng(1)
    plates = np.repeat(np.arange(4), 6)
    groups = np.where(np.arange(24) % 6 == 0, 0, -1)
    features = 5 * rng.normal(size=(4, 30))[plates] + rng.normal(size=(24, 30))
    assert p_of_groups(features, Pairing(groups, plates=plates), np.array([0]), 400, 0)[0] > 0.1


def test_a_tier_and_sources_leave_pairs_out():
    rng = np.random.default_rng(2)
    groups = np.array([0, 0, 0, 0, *[1] * 6, *[2] * 6])
    sources = np.array([0, 0, 1, 1, *range(2, 14)])
    apart = np.arange(16) % 2
    pairing = Pairing(groups, sources, apart=apart, against="groups")
    ranking = rank(pairing, 0, np.arange(4), rng)
    assert sorted(ranking.rows.tolist()) == list(range(16))
    for query, positives, negatives in ranking.queries:
        row = ranking.rows[query]
        same = ranking.rows[positives].tolist()
        assert same == [
            other
            for other in range(4)
            if sources[other] != sources[row] and apart[other] != apart[row]
        ]
        others = sorted(ranking.rows[negatives].tolist())
        assert others == [other for other in range(4, 16) if apart[other] != apart[row]]


def test_large_groups_and_many_negatives_are_sampled(monkeypatch):
    monkeypatch.setattr(exchange_test, "_QUERIES", 3)
    monkeypatch.setattr(exchange_test, "_NEGATIVES", 7)
    rng = np.random.default_rng(3)
    pairing = Pairing(np.repeat([0, 1, 2], 20), against="groups")
    ranking = rank(pairing, 0, np.arange(20), rng)
    assert len(ranking.rows) == 10
    assert len(ranking.queries) == 3
    negatives = ranking.rows[ranking.queries[0][2]]
    assert len(set(negatives.tolist())) == 7
    assert (negatives >= 20).all()
    # On each of two plates half of the seven, rounded down.
    groups, plates = np.where(np.arange(40) % 20 < 2, 0, -1), np.arange(40) // 20
    ranking = rank(Pairing(groups, plates=plates), 0, np.flatnonzero(groups == 0), rng)
    assert sorted(ranking.strata) == [4, 5]
    for query, positives, negatives in ranking.queries:
        assert (plates[ranking.rows[negatives]] == plates[ranking.rows[query]]).all()
        assert len(negatives) == 3
        assert len(positives) == 2


def test_a_group_that_nothing_can_be_exchanged_with_has_p_one():
    groups = np.array([0, 0, -1, -1])
    alone = Pairing(groups, plates=np.array([0, 0, 1, 1]))
    assert p_of_groups(np.eye(4), alone, np.array([0]), 10, 0).tolist() == [1]
    equal = Pairing(groups)
    assert p_of_groups(np.ones((4, 2)), equal, np.array([0]), 10, 0).tolist() == [1]


@pytest.mark.parametrize("plates", [None, np.arange(12) % 3])
def test_null_values_that_equal_the_observed_one_count(plates):
    """Profiles of three kinds, so that most exchanges give one of a few values."""
    features = np.eye(3)[np.array([0, 0, 1, 0, 1, 2, 2, 1, 0, 2, 1, 0])] + 1
    groups = np.array([0, 0, 0, 0, *[-1] * 8])
    pairing, draws, seed = Pairing(groups, plates=plates), 200, 3
    # What the test draws: the profiles that are ranked, and which exchange stands for the order as
    # it is.
    rng = np.random.default_rng([seed, 0])
    ranking = rank(pairing, 0, np.arange(4), rng)
    orders = exchanges(ranking.strata, draws, seed).astype(int)
    chosen = rng.integers(draws + 1)
    cosines = cosine_similarity(features).round(6)[np.ix_(ranking.rows, ranking.rows)]
    values = []
    for order in orders[np.argsort(orders[:, chosen])].T:
        scores = []
        for query, positives, negatives in ranking.queries:
            labels = [1] * len(positives) + [0] * len(negatives)
            ranked = order[np.concatenate([positives, negatives])]
            scores.append(average_precision_score(labels, cosines[order[query], ranked]))
        values.append(np.mean(scores))
    observed, null = values[chosen], np.delete(values, chosen)
    equal = np.isclose(null, observed)
    assert equal.sum() > 10
    p = (1 + ((null > observed) | equal).sum()) / (1 + draws)
    assert p_of_groups(features, pairing, np.array([0]), draws, seed)[0] == pytest.approx(p)
    unit = unit_rows(features).astype(np.float32)
    rng = np.random.default_rng([seed, 0])
    ranking = rank(pairing, 0, np.arange(4), rng)
    found = exchanged_precisions(unit, ranking, draws, seed, rng)
    np.testing.assert_allclose(found, [observed, *null], atol=1e-12)


@pytest.mark.parametrize("strata", [(40,), (25, 3, 12)])
def test_profiles_as_high_are_counted_with_ties(strata):
    rng = np.random.default_rng(5)
    cosines = rng.integers(-4, 5, size=(40, 40)).astype(np.int32) * 250_000
    np.fill_diagonal(cosines, 1_000_000)
    stratum = np.repeat(np.arange(len(strata)), strata)
    for one in range(40):
        others = np.flatnonzero((stratum == stratum[one]) & (np.arange(40) != one))
        expected = [(cosines[one, others] >= cosines[one, other]).sum() for other in range(40)]
        assert exchange_test.count_as_high(cosines, strata)[one].tolist() == expected


def draw_null(
    count: int, wells: int, controls: int, spread: bool, seed: int
) -> tuple[np.ndarray, Pairing]:
    """Return noise and a pairing of `count` groups, each with plates of its own, in two tiers."""
    plates_of_group = wells if spread else 1
    plate = [np.arange(wells) if spread else np.zeros(wells, int)]
    plate += [np.repeat(np.arange(plates_of_group), controls)]
    plate = np.concatenate(plate)
    group = np.where(np.arange(len(plate)) < wells, 0, -1)
    number = np.repeat(np.arange(count), len(plate))
    groups = np.where(np.tile(group, count) == 0, number, -1)
    plates = number * plates_of_group + np.tile(plate, count)
    features = np.random.default_rng(seed).normal(size=(len(groups), 5))
    return features, Pairing(groups, plates=plates)


def check(p: np.ndarray) -> None:
    for alpha in ALPHAS:
        assert (p <= alpha).mean() <= alpha + 2 * np.sqrt(alpha * (1 - alpha) / len(p))


def test_p_holds_under_the_null_hypothesis():
    features, pairing = draw_null(300, 3, 9, spread=False, seed=4)
    p = p_of_groups(features, pairing, np.arange(300), 99, 0)
    check(p)
    # And it is no larger than it must be.
    assert kstest(p, "uniform").pvalue > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("spread", [False, True])
@pytest.mark.parametrize(("wells", "controls"), [(2, 4), (2, 12), (4, 8)])
def test_p_holds_under_the_null_hypothesis_in_2000_draws(wells, controls, spread):
    features, pairing = draw_null(2000, wells, controls, spread, seed=wells)
    check(p_of_groups(features, pairing, np.arange(2000), 199, 0))


@pytest.mark.slow
def test_p_holds_for_perturbations_among_others_in_2000_draws():
    p = []
    for seed in range(100):
        rng = np.random.default_rng([6, seed])
        pairing = Pairing(np.repeat(np.arange(20), 3), np.arange(60), against="groups")
        p.append(p_of_groups(rng.normal(size=(60, 5)), pairing, np.arange(20), 199, seed))
    check(np.concatenate(p))


@pytest.mark.slow
def test_mid_p_is_uniform_where_there_are_ties():
    features, pairing = draw_null(1000, 2, 16, spread=False, seed=7)
    unit, mid, ties = unit_rows(features).astype(np.float32), [], []
    for group in range(1000):
        rng = np.random.default_rng([8, group])
        ranking = rank(pairing, group, np.flatnonzero(pairing.groups == group), rng)
        observed, *null = exchanged_precisions(unit, ranking, 999, 0, rng)
        equal = np.isclose(null, observed)
        mid.append(((np.array(null) > observed) & ~equal).mean() + equal.mean() / 2)
        ties.append(equal.mean())
    assert np.mean(ties) > 0.01
    assert kstest(mid, "uniform").pvalue > 0.01
