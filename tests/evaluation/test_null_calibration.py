"""P-values of recall and of tiers under the null: random maps, and pairs that mean nothing.

P-values of counts have ties, so that they are too large rather than uniform. The mid-p-value counts
half of the ties; its distribution is close to uniform if ties are few.
"""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import kstest

from phenomae.evaluation.recall import permutation
from phenomae.evaluation.recall.cosines import mark_tails
from phenomae.evaluation.recall.mean_cosines import MeanCosines, TierPairs
from phenomae.evaluation.recall.permutation import shuffled_recalls
from phenomae.evaluation.recall.recall import find_tails
from phenomae.evaluation.recall.strata import find_strata
from phenomae.evaluation.recall.strata_tails import find_in_strata, mark_strata
from phenomae.evaluation.recall.tiers import TIERS, TierName
from phenomae.evaluation.recall.well_groups import count_wells
from phenomae.evaluation.recall.well_sums import sum_wells
from phenomae.maps.p_values import p_values
from phenomae.maps.unit_vectors import unit_rows

GENES, WELLS, WIDTH, SHUFFLES = 80, 240, 8, 99
TAILS = [(0.1, 0.9)]
# At 2 errors, each of the 20 numbers that are checked fails in one of 44 sets of draws of an exact
# p-value; at 2.81, any of them does in one of 20 sets.
ERRORS = 2.81
Drawn = tuple[float, np.ndarray]
"""Recall, and its null distribution."""


def draw_pairs(rng: np.random.Generator) -> np.ndarray:
    """Return half of all pairs of genes, so that recalls have few ties."""
    pairs = np.argwhere(np.triu(np.ones((GENES, GENES)), k=1))
    return pairs[rng.random(len(pairs)) < 0.5]


def draw_recall(rng: np.random.Generator, seed: int) -> Drawn:
    """Return the recall of a random map, whose genes differ in how far they are from others."""
    features = rng.normal(size=(GENES, WIDTH)) + rng.exponential(size=(GENES, 1))
    unit, pairs = unit_rows(features), draw_pairs(rng)
    tails, cosines = find_tails(unit, TAILS, pairs)
    marks = mark_tails(unit, tails.below[0], tails.above[0])
    return float(tails.recall(cosines)[0]), shuffled_recalls(marks, pairs, SHUFFLES, seed)


def chance_of(tier: TierPairs) -> Callable[[np.ndarray], float]:
    return lambda pairs: float(tier.strata.expect(tier.find(pairs))[0][0])


def draw_tier(tier: TierName) -> Callable[[np.random.Generator, int], Drawn]:
    def draw(rng: np.random.Generator, seed: int) -> Drawn:
        """Return the recall of random wells, of which those of a group look alike."""
        genes = np.append(np.arange(GENES), rng.integers(GENES, size=WELLS - GENES))
        groups = None if TIERS[tier] is None else rng.integers(number[tier], size=WELLS)
        features = rng.normal(size=(WELLS, WIDTH))
        if groups is not None:
            features += rng.normal(size=(number[tier], WIDTH))[groups]
        counts, pairs = count_wells(genes, groups, GENES), draw_pairs(rng)
        parts = [(np.arange(WELLS), unit_rows(features))]
        totals, sums = sum_wells(parts, genes, {tier: (counts, groups)}, WIDTH)
        of_tier = TierPairs(counts, find_strata(counts, TAILS), sums[tier])
        values = MeanCosines(totals, counts.wells, {tier: of_tier})
        tails = find_in_strata(values, pairs)
        *(marks,), counted = mark_strata(values, tails)[tier]
        null = shuffled_recalls(marks, pairs, SHUFFLES, seed, None, counted, chance_of(of_tier))
        here = of_tier.find(pairs) < len(of_tier.strata)
        excess = tails[tier].found[here].mean() - chance_of(of_tier)(pairs[here])
        return float(excess), null

    number = {"other-plate": 12, "other-batch": 3, "other-position": 60}
    return draw


DRAWS = {"recall": draw_recall, **{tier: draw_tier(tier) for tier in TIERS}}


def draw_p(name: str, draws: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the p-values of some draws, and the mid-p-values."""
    p, mid_p = np.empty(draws), np.empty(draws)
    for number in range(draws):
        recall, null = DRAWS[name](np.random.default_rng([11, number]), number)
        p[number] = p_values(np.array([recall]), null)[0]
        same = np.abs(null - recall) < 1e-9
        mid_p[number] = ((null > recall)[~same].sum() + (same.sum() + 1) / 2) / (SHUFFLES + 1)
    return p, mid_p


def check(p: np.ndarray, mid_p: np.ndarray) -> None:
    for level in (0.01, 0.05, 0.1, 0.5):
        error = np.sqrt(level * (1 - level) / len(p))
        assert (p <= level).mean() <= level + ERRORS * error
    assert kstest(mid_p, "uniform").pvalue > 0.01


@pytest.mark.parametrize("tier", TIERS)
def test_a_permutation_that_changes_nothing_gives_the_observed_value(
    tier: TierName, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the observed value is one more of the permuted ones, and the p-value is exact."""
    monkeypatch.setattr(permutation, "shuffle_rows", lambda count, *_: np.arange(count))
    for number in range(5):
        excess, null = draw_tier(tier)(np.random.default_rng([11, number]), number)
        np.testing.assert_array_equal(null, excess)


@pytest.mark.slow
@pytest.mark.parametrize("name", DRAWS)
def test_p_values_hold_their_level_and_mid_p_values_are_uniform(name):
    check(*draw_p(name, 2000))


@pytest.mark.parametrize("name", DRAWS)
def test_the_same_of_fewer_draws(name):
    check(*draw_p(name, 80))


def test_a_p_value_that_is_too_small_is_noticed():
    p, mid_p = draw_p("recall", 200)
    with pytest.raises(AssertionError):
        check(p * 0.7, mid_p)
    with pytest.raises(AssertionError):
        check(p, mid_p * 0.7)
