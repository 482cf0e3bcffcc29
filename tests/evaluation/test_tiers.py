"""Tails of mean cosines over the pairs of wells that a tier allows, against a loop over all pairs.

The oracle computes all cosines of wells as one matrix, sorts the pairs of genes into strata by
hand, and sorts each stratum.
"""

from dataclasses import dataclass

import numpy as np
import pytest

from phenomae.evaluation.recall import strata as strata_module
from phenomae.evaluation.recall import strata_sample, strata_tails, tiles, well_sums
from phenomae.evaluation.recall.cosines import is_marked
from phenomae.evaluation.recall.mean_cosines import MeanCosines, TierPairs
from phenomae.evaluation.recall.strata import (
    Strata,
    count_strata,
    find_strata,
    list_pairs_of_wells,
)
from phenomae.evaluation.recall.strata_pass import join, values_in
from phenomae.evaluation.recall.strata_tails import find_in_strata, mark_strata
from phenomae.evaluation.recall.tiers import TierName
from phenomae.evaluation.recall.well_groups import count_wells
from phenomae.evaluation.recall.well_sums import FewGroups, ManyGroups, sum_wells
from phenomae.maps.unit_vectors import unit_rows

GENES = 60
PAIRS = np.argwhere(np.triu(np.ones((GENES, GENES)), k=1))
PERCENTILES = [(0.1, 0.9), (0.03, 1.0), (0.5, 0.5)]


@dataclass
class Wells:
    unit: np.ndarray
    genes: np.ndarray
    groups: np.ndarray


def draw_wells(seed: int, groups: int) -> Wells:
    """Return 300 wells of 60 genes and of none (-1); genes 0 to 4 are in group 0 only."""
    rng = np.random.default_rng([seed, groups])
    genes = rng.permutation(np.append(np.arange(GENES), rng.integers(-1, GENES, size=240)))
    group = np.where((genes >= 0) & (genes < 5), 0, rng.integers(groups, size=300))
    return Wells(unit_rows(rng.normal(size=(300, 6))), genes, group)


def values_of(wells: Wells, tier: TierName = "other-plate") -> MeanCosines:
    """Return the mean cosines in one tier, from wells in three parts and another order."""
    groups = None if tier == "any" else wells.groups
    counts = count_wells(wells.genes, groups, GENES)
    order = np.random.default_rng(1).permutation(len(wells.unit))
    parts = [(numbers, wells.unit[numbers]) for numbers in np.array_split(order, 3)]
    width = wells.unit.shape[1]
    totals, sums = sum_wells(parts, wells.genes, {tier: (counts, groups)}, width)
    strata = find_strata(counts, PERCENTILES)
    return MeanCosines(totals, counts.wells, {tier: TierPairs(counts, strata, sums[tier])})


def brute_force(wells: Wells, allowed: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return means, numbers of pairs of wells left and left out for all pairs of genes."""
    is_of = (wells.genes == np.arange(GENES)[:, None]).astype(float)
    left = is_of @ allowed @ is_of.T
    sums = is_of @ (wells.unit @ wells.unit.T * allowed) @ is_of.T
    out = is_of @ (1.0 - allowed) @ is_of.T
    rows, columns = PAIRS.T
    means = sums[rows, columns] / np.maximum(left[rows, columns], 1)
    return means, left[rows, columns], out[rows, columns]


def tails_by_hand(
    means: np.ndarray, left: np.ndarray, out: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return which pairs are in the tails of their stratum, and which are not left out."""
    found, counted = np.zeros((len(means), len(PERCENTILES)), bool), np.zeros(len(means), bool)
    for pair in np.unique(np.column_stack([left, out])[left > 0], axis=0):
        here = np.flatnonzero((left == pair[0]) & (out == pair[1]))
        if np.floor(0.03 * len(here) + 1e-9) < 1:  # the smallest tail has no pair
            continue
        counted[here] = True
        order = here[np.argsort(means[here])]
        for which, (low, high) in enumerate(PERCENTILES):
            lower = int(np.floor(low * len(here) + 1e-9))
            upper = int(np.floor((1 - high) * len(here) + 1e-9))
            found[order[:lower], which] = True
            found[order[len(here) - upper :], which] = True
    return found, counted


def allow(wells: Wells, tier: TierName) -> np.ndarray:
    count = len(wells.unit)
    if tier == "any":
        return np.ones((count, count))
    return (wells.groups[:, None] != wells.groups).astype(float)


@pytest.mark.parametrize("side", [8, 512])
@pytest.mark.parametrize("small", [0.0, 1e9], ids=["many", "few"])
@pytest.mark.parametrize("groups", [2, 5, 40])
def test_the_tails_are_those_of_each_stratum(monkeypatch, side, small, groups):
    monkeypatch.setattr(tiles, "SIDE", side)
    monkeypatch.setattr(well_sums, "_SMALL", small)
    wells = draw_wells(0, groups)
    values = values_of(wells)
    sums = values.tiers["other-plate"].sums
    assert isinstance(sums, FewGroups if small else ManyGroups)
    means, left, out = brute_force(wells, allow(wells, "other-plate"))
    wanted, counted = tails_by_hand(means, left, out)
    assert not (left > 0).all()
    assert counted.sum() < (left > 0).sum()  # some strata are too small
    found = find_in_strata(values, PAIRS)["other-plate"].found
    np.testing.assert_array_equal(found, wanted)
    strata = values.tiers["other-plate"].strata
    np.testing.assert_array_equal(values.tiers["other-plate"].find(PAIRS) < len(strata), counted)
    assert (strata.pairs, strata.without) == (counted.sum(), (left == 0).sum())


def test_strata_of_any_pair_of_wells_are_those_of_as_many():
    wells = draw_wells(1, 3)
    values = values_of(wells, "any")
    means, left, out = brute_force(wells, allow(wells, "any"))
    wanted, counted = tails_by_hand(means, left, out)
    assert len(np.unique(left)) == len(values.tiers["any"].strata) > 1
    np.testing.assert_array_equal(find_in_strata(values, PAIRS)["any"].found, wanted)
    assert values.tiers["any"].strata.pairs == counted.sum()


def test_genes_with_equal_numbers_of_wells_are_one_stratum_of_any():
    wells = draw_wells(1, 3)
    wells.genes[:] = np.arange(300) % GENES
    values = values_of(wells, "any")
    wanted, counted = tails_by_hand(*brute_force(wells, allow(wells, "any")))
    assert counted.all()
    assert len(values.tiers["any"].strata) == 1
    np.testing.assert_array_equal(find_in_strata(values, PAIRS)["any"].found, wanted)


def test_strata_and_values_are_joined_exactly():
    rng = np.random.default_rng(0)
    values = (rng.normal(size=4000) * 10.0 ** -rng.integers(0, 9, 4000)).astype(np.float32)
    values[:3] = 0.0, -0.0, 1e-30
    codes = rng.integers(0, 1 << 20, size=4000)
    joined = np.sort(join(codes, values))
    order = np.lexsort((values, codes))
    np.testing.assert_array_equal(joined >> 32, codes[order])
    np.testing.assert_array_equal(values_in(joined), values[order])


def test_tiers_are_the_same_alone_and_beside_others():
    wells = draw_wells(2, 4)
    tiers: dict[TierName, TierPairs] = {}
    for tier in ("any", "other-plate"):
        tiers |= values_of(wells, tier).tiers
    alone = values_of(wells)
    both = MeanCosines(alone.totals, alone.wells, tiers)
    found = find_in_strata(both, PAIRS)
    assert list(found) == ["any", "other-plate"]
    wanted = find_in_strata(alone, PAIRS)["other-plate"]
    np.testing.assert_array_equal(found["other-plate"].below, wanted.below)
    np.testing.assert_array_equal(found["other-plate"].found, wanted.found)


@pytest.mark.parametrize("few", [5, 400])
@pytest.mark.parametrize("share", [20, 45])
def test_a_sample_changes_time_and_no_result(monkeypatch, few, share):
    monkeypatch.setattr(tiles, "SIDE", 8)
    monkeypatch.setattr(strata_sample, "_SAMPLE", share)
    monkeypatch.setattr(strata_sample, "_FEWEST", few)
    wells = draw_wells(3, 3)
    wanted, _ = tails_by_hand(*brute_force(wells, allow(wells, "other-plate")))
    found = find_in_strata(values_of(wells), PAIRS)["other-plate"].found
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("shift", [-1, 1])
def test_a_bracket_that_misses_costs_time_and_changes_nothing(monkeypatch, shift):
    monkeypatch.setattr(tiles, "SIDE", 8)
    wells = draw_wells(4, 3)
    values = values_of(wells)
    brackets = {
        tier: np.full((len(some.strata), 6, 2), 2.0 * shift) for tier, some in values.tiers.items()
    }
    monkeypatch.setattr(strata_tails, "bracket_strata", lambda _: brackets)
    wanted, _ = tails_by_hand(*brute_force(wells, allow(wells, "other-plate")))
    found = find_in_strata(values, PAIRS)["other-plate"].found
    np.testing.assert_array_equal(found, wanted)


def test_large_brackets_are_not_collected(monkeypatch):
    monkeypatch.setattr(strata_sample, "_COLLECTED", 50)
    wells = draw_wells(5, 3)
    values = values_of(wells)
    emptied = strata_sample.bracket_strata(values)["other-plate"]
    assert (emptied[values.tiers["other-plate"].strata.sizes.argmax()] == [np.inf, -np.inf]).any()
    wanted, _ = tails_by_hand(*brute_force(wells, allow(wells, "other-plate")))
    found = find_in_strata(values, PAIRS)["other-plate"].found
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("side", [8, 512])
def test_marks_are_the_pairs_in_the_tails_and_those_not_left_out(monkeypatch, side):
    monkeypatch.setattr(tiles, "SIDE", side)
    wells = draw_wells(6, 4)
    values = values_of(wells)
    marks = mark_strata(values, find_in_strata(values, PAIRS))["other-plate"]
    wanted, counted = tails_by_hand(*brute_force(wells, allow(wells, "other-plate")))
    for which, bits in enumerate(marks[:-1]):
        np.testing.assert_array_equal(is_marked(bits, PAIRS), wanted[:, which])
    np.testing.assert_array_equal(is_marked(marks[-1], PAIRS), counted)


@pytest.mark.parametrize("groups", [2, 5, 40])
@pytest.mark.parametrize("path", ["patterns", "dense", "sparse"])
def test_strata_have_the_pairs_of_genes_counted_one_by_one(monkeypatch, path, groups):
    monkeypatch.setattr(tiles, "SIDE", 8)
    if path != "patterns":
        monkeypatch.setattr(strata_module, "_PATTERNS", 0)
    if path == "sparse":
        monkeypatch.setattr(strata_module, "FEW", 0)
    wells = draw_wells(7, groups)
    _, left, out = brute_force(wells, allow(wells, "other-plate"))
    counts = count_wells(wells.genes, wells.groups, GENES)
    np.testing.assert_array_equal(counts.count_left(PAIRS), left)
    np.testing.assert_array_equal(counts.count_left_out(PAIRS), out)
    of_wells = list_pairs_of_wells(counts.wells)
    keys, sizes, most = count_strata(counts, of_wells)
    every = (of_wells.numbers[keys // most], keys % most)
    wanted = np.unique(np.column_stack([left + out, out])[left > 0], axis=0, return_counts=True)
    np.testing.assert_array_equal(np.column_stack(every), wanted[0])
    np.testing.assert_array_equal(sizes, wanted[1])


def test_genes_with_very_many_wells_are_counted_exactly():
    # 5,000 wells of two genes: 25 million pairs, more than float32 has whole numbers for.
    genes = np.append(np.repeat([0, 1], 5000), [2, 3])
    groups = np.append(np.arange(10_000) % 5001 == 0, [True, False]).astype(np.int64)
    counts = count_wells(genes, groups, 4)
    assert counts.number_type is np.float64
    strata = find_strata(counts, [(1.0, 1.0)])
    pairs = np.argwhere(np.triu(np.ones((4, 4)), k=1))
    of_gene = [np.bincount(groups[genes == gene], minlength=2) for gene in range(4)]
    wanted = [int(of_gene[a] @ of_gene[b]) for a, b in pairs]
    assert counts.count_left_out(pairs).tolist() == wanted
    assert max(wanted) > 24_900_000
    found = strata.find(counts, pairs)
    assert strata.left_out[found].tolist() == wanted


def test_equal_profiles_have_thresholds_of_one():
    wells = draw_wells(8, 4)
    wells.unit[:] = unit_rows(np.full((1, 6), 0.3))
    values = values_of(wells)
    found = find_in_strata(values, PAIRS)["other-plate"]
    enough = values.tiers["other-plate"].strata.enough
    np.testing.assert_allclose(found.below[:-1][enough][:, 0], 1, atol=1e-5)
    np.testing.assert_allclose(found.above[:-1][enough][:, 0], 1, atol=1e-5)


def test_chance_and_largest_recall_of_strata():
    # 40 pairs leave out no pair of wells and 20 leave out one: tails of 5 % + 10 % have room for
    # 2 + 4 and 1 + 2 pairs.
    sizes = np.array([40, 20])
    of_wells = list_pairs_of_wells(np.array([3]))
    ranks = np.array([[2, 35], [1, 17]])
    strata = Strata(of_wells, np.arange(2), 2, sizes, 0, sizes > 0, ranks)
    known = np.array([0, 0, 1, 1, 1, 1, 1])
    chance, most = strata.expect(known)
    np.testing.assert_allclose(chance, (2 * 6 / 40 + 5 * 3 / 20) / 7)
    np.testing.assert_allclose(most, (2 + 3) / 7)
