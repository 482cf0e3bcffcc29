"""Mean cosines over the pairs of wells that a tier allows, against a loop over all pairs."""

import numpy as np
import pytest

from phenomae.evaluation.recall import one_pass, tiles
from phenomae.evaluation.recall.one_pass import find_in_tails
from phenomae.evaluation.recall.tiers import any_wells, count_wells, other_groups
from phenomae.evaluation.recall.tiles import NO_VALUE
from phenomae.maps.unit_vectors import unit_rows

GENES = 30


def draw_wells(seed: int, groups: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return profiles of length 1, genes (-1 for some wells) and groups of 200 wells."""
    rng = np.random.default_rng(seed)
    genes = rng.permutation(np.append(np.arange(GENES), rng.integers(-1, GENES, size=170)))
    return unit_rows(rng.normal(size=(200, 6))), genes, rng.integers(groups, size=200)


def each_part(unit: np.ndarray):
    """Yield the wells in three parts, in another order, as plates are read one by one."""
    for numbers in np.array_split(np.random.default_rng(1).permutation(len(unit)), 3):
        yield numbers, unit[numbers]


def matrix_of(values) -> np.ndarray:
    matrix = np.full((len(values), len(values)), np.nan)
    for first in range(0, len(values), tiles.SIDE):
        for row, column, tile in values.cut(first):
            matrix[row : row + tile.shape[0], column : column + tile.shape[1]] = tile
    return matrix


def brute_force(unit: np.ndarray, genes: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
    """Return the mean cosine of every two genes, from all pairs of their wells; NaN without any."""
    means = np.full((GENES, GENES), np.nan)
    for a in range(GENES):
        for b in range(GENES):
            cosines = [
                float(unit[i] @ unit[j])
                for i in np.flatnonzero(genes == a)
                for j in np.flatnonzero(genes == b)
                if groups is None or groups[i] != groups[j]
            ]
            if cosines:
                means[a, b] = np.mean(cosines)
    return means


@pytest.mark.parametrize("side", [8, 512])
@pytest.mark.parametrize("groups", [2, 5, 40])
def test_means_are_those_of_all_pairs_of_wells_in_other_groups(monkeypatch, side, groups):
    monkeypatch.setattr(tiles, "SIDE", side)
    unit, genes, group = draw_wells(groups, groups)
    # Genes 0 and 1 have wells in group 0 only, so that they have no pair of wells in two groups.
    group[genes <= 1] = 0
    values = other_groups(each_part(unit), genes, group, GENES, 6)
    wanted = brute_force(unit, genes, group)
    upper = np.triu_indices(GENES, k=1)
    found = matrix_of(values)[upper]
    has = ~np.isnan(wanted[upper])
    np.testing.assert_allclose(found[has], wanted[upper][has], atol=2e-6)
    assert not has.all()
    assert (found[~has] == NO_VALUE).all()
    pairs = np.column_stack(upper)
    numbers = count_wells(genes, group, GENES).count_pairs(pairs)
    assert numbers.tolist() == [
        (group[genes == a][:, None] != group[genes == b]).sum() for a, b in pairs
    ]


def test_means_of_all_pairs_of_wells():
    unit, genes, _ = draw_wells(0, 2)
    found = matrix_of(any_wells(each_part(unit), genes, GENES, 6))
    np.testing.assert_allclose(found, brute_force(unit, genes, None), atol=1e-12)


def test_one_group_for_each_well_leaves_nothing_out():
    unit, genes, _ = draw_wells(3, 2)
    values = other_groups(each_part(unit), genes, np.arange(200), GENES, 6)
    upper = np.triu_indices(GENES, k=1)
    np.testing.assert_allclose(
        matrix_of(values)[upper], brute_force(unit, genes, None)[upper], atol=1e-6
    )


@pytest.mark.parametrize("sample", [16, 2048])
def test_tails_are_those_of_the_pairs_with_a_value(monkeypatch, sample):
    monkeypatch.setattr(one_pass, "_SAMPLE", sample)
    monkeypatch.setattr(tiles, "SIDE", 8)
    unit, genes, group = draw_wells(4, 3)
    group[genes < 8] = 0
    wanted = brute_force(unit, genes, group)
    pairs = np.argwhere(np.triu(np.ones((GENES, GENES)), k=1))
    means = wanted[pairs[:, 0], pairs[:, 1]]
    found = find_in_tails(
        other_groups(each_part(unit), genes, group, GENES, 6), [(0.1, 0.8)], pairs
    )
    ordered = np.sort(means[~np.isnan(means)])
    count = len(ordered)
    assert count == found.count == 399  # 8 genes and more have no pair of wells with one another
    np.testing.assert_array_equal(found.counted, ~np.isnan(means))
    # 10 % of 399 are 39.9: 39 are in the lower tail. 20 % are 79.8: 79 are in the upper one.
    assert found.tails.below == pytest.approx(ordered[39], abs=1e-6)
    assert found.tails.above == pytest.approx(ordered[count - 80], abs=1e-6)
    assert found.found.sum() == 39 + 79
    chosen = means[found.found[:, 0]]
    assert ((chosen < ordered[39] - 1e-6) | (chosen > ordered[count - 80] + 1e-6)).all()


def test_equal_profiles_have_mean_cosine_one_and_are_counted():
    unit, genes, group = draw_wells(5, 4)
    unit[:] = unit_rows(np.full((1, 6), 0.3))
    values = other_groups(each_part(unit), genes, group, GENES, 6)
    pairs = np.argwhere(np.triu(np.ones((GENES, GENES)), k=1))
    found = find_in_tails(values, [(0.05, 0.95)], pairs)
    numbers = count_wells(genes, group, GENES).count_pairs(pairs)
    np.testing.assert_array_equal(found.counted, numbers > 0)
    np.testing.assert_allclose([found.tails.below, found.tails.above], 1, atol=1e-5)
