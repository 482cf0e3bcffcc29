"""The planted truth: who is whose partner, what guides do, where they stand."""

from itertools import combinations, product

import numpy as np
import polars as pl
import pytest

from phenomae.simulation.design import CONTROL_GENE, Design, design_plates
from phenomae.simulation.nuisance import well_nuisance
from phenomae.simulation.placement import cell_centres
from phenomae.simulation.seeds import make_generator
from phenomae.simulation.simulate import SimulateSettings

DEFAULT = SimulateSettings()


def plan(**changes) -> Design:
    names = ("seed", "genes", "complexes", "guides", "batches", "controls", "effect")
    return design_plates(**{name: getattr(DEFAULT, name) for name in names} | changes)


def guides_of(design: Design, gene: str) -> list[np.ndarray]:
    table = design.plate_map.filter(pl.col("gene") == gene)
    return [design.phenotypes[guide] for guide in table["guide"].unique().sort()]


def cosine(first: np.ndarray, second: np.ndarray) -> float:
    return float(first @ second / np.sqrt((first @ first) * (second @ second)))


def test_default_screen_plants_at_least_200_pairs_and_at_most_3_percent_of_all():
    planted = plan().relationships
    assert len(planted) >= 200
    assert len(planted) <= 0.03 * DEFAULT.genes * (DEFAULT.genes - 1) / 2


def test_relationships_are_all_pairs_of_a_complex_and_each_once():
    design = plan(genes=11, complexes=3)
    planted = design.relationships
    assert planted.columns == ["entity1", "entity2", "complex"]
    members: dict[str, set[str]] = {}
    for first, second, complex_ in planted.iter_rows():
        members.setdefault(complex_, set()).update((first, second))
    assert sorted(len(genes) for genes in members.values()) == [3, 4, 4]
    expected = {
        frozenset(pair) for genes in members.values() for pair in combinations(sorted(genes), 2)
    }
    found = [frozenset(pair) for pair in planted.select("entity1", "entity2").iter_rows()]
    assert len(found) == len(set(found))
    assert set(found) == expected
    treated = design.plate_map.filter(~pl.col("control"))
    assert set.union(*members.values()) == set(treated["gene"])


def test_guides_of_a_gene_share_a_direction_and_differ_in_strength():
    design = plan(genes=12, complexes=3, guides=3)
    for gene in design.plate_map.filter(~pl.col("control"))["gene"].unique():
        guides = guides_of(design, gene)
        assert len(guides) == 3
        for first, second in combinations(guides, 2):
            assert cosine(first, second) == pytest.approx(1)
        lengths = sorted(float(np.linalg.norm(guide)) for guide in guides)
        assert np.min(np.diff(lengths)) > 0.05 * DEFAULT.effect
        assert lengths[-1] == pytest.approx(DEFAULT.effect)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_genes_of_one_complex_are_closer_in_direction_than_others(seed):
    design = plan(seed=seed)
    planted = {frozenset(pair) for pair in design.relationships.select("entity1", "entity2").rows()}
    genes = sorted(set().union(*planted))
    vectors = {gene: guides_of(design, gene)[0] for gene in genes}
    within, between = [], []
    for pair in combinations(genes, 2):
        kind = within if frozenset(pair) in planted else between
        kind.append(cosine(*(vectors[gene] for gene in pair)))
    assert np.mean(within) - np.mean(between) > 0.5
    assert np.mean(np.array(within) > np.percentile(between, 95)) > 0.95


def test_effect_is_the_length_of_a_full_phenotype_and_controls_do_nothing():
    weak, strong = plan(effect=1.0), plan(effect=4.0)
    for guide, phenotype in weak.phenotypes.items():
        np.testing.assert_allclose(strong.phenotypes[guide], 4 * phenotype)
    controls = strong.plate_map.filter(pl.col("control"))
    assert set(controls["gene"]) == {CONTROL_GENE}
    assert not np.any([strong.phenotypes[guide] for guide in controls["guide"]])
    assert not any(np.any(phenotype) for phenotype in plan(effect=0.0).phenotypes.values())


@pytest.mark.parametrize(
    ("genes", "batches", "controls", "plates"),
    [(40, 3, 48, 3), (112, 1, 48, 1), (113, 1, 48, 2), (160, 2, 48, 4), (8, 1, 0, 1)],
)
def test_every_guide_stands_once_a_batch_and_every_plate_has_its_controls(
    genes, batches, controls, plates
):
    """Three guides a gene, and 384 - 48 = 336 wells a plate for them: 112 genes."""
    changes = {"complexes": 4, "guides": 3, "controls": controls}
    table = plan(genes=genes, batches=batches, **changes).plate_map
    places = {f"{row}{column:02d}" for row, column in product("ABCDEFGHIJKLMNOP", range(1, 25))}
    assert table["plate"].n_unique() == plates
    for plate, wells in table.group_by("plate"):
        assert wells["well"].n_unique() == len(wells) <= 384, plate
        assert set(wells["well"]) <= places
        assert wells["control"].sum() == controls
        assert wells["batch"].n_unique() == 1
    treated = table.filter(~pl.col("control"))
    for _, wells in treated.group_by("batch"):
        assert wells["guide"].n_unique() == len(wells) == treated["guide"].n_unique()


def test_a_guide_stands_elsewhere_in_another_batch():
    treated = plan(batches=2).plate_map.filter(~pl.col("control"))
    wells = treated.group_by("guide").agg(pl.col("well").n_unique())["well"]
    assert (wells == 2).mean() > 0.9


def test_without_nuisance_all_wells_are_alike_and_with_it_none():
    places = list(product(range(2), range(2), (0, 7), (0, 11)))  # batch, plate, row, column

    def wells(nuisance: float) -> list[np.ndarray]:
        drawn = [well_nuisance(0, nuisance, *place) for place in places]
        return [
            np.concatenate(
                [
                    well.exposure.gain,
                    well.exposure.background,
                    well.exposure.tilt,
                    well.shift,
                    [well.exposure.blur, well.exposure.photons_per_count],
                    [well.exposure.read_noise, well.crowding],
                ]
            )
            for well in drawn
        ]

    quiet = wells(0.0)
    for well in quiet[1:]:
        np.testing.assert_array_equal(well, quiet[0])
    first = well_nuisance(0, 0.0, 0, 0, 0, 0)
    assert first.crowding == 1
    assert not first.shift.any()
    assert not first.exposure.tilt.any()
    assert first.exposure.read_noise == 0
    for one, other in combinations(wells(1.0), 2):
        assert not np.array_equal(one, other)


def test_wells_of_a_plate_are_more_alike_than_wells_of_two_batches():
    """The plate and the batch shift all their wells together: what correction can take out."""
    shifts = np.array(
        [
            [well_nuisance(0, 1.0, batch, batch, row, 5).shift for row in range(2, 14)]
            for batch in range(12)
        ]
    )
    within = shifts.var(axis=1).mean()
    between = shifts.mean(axis=1).var(axis=0).mean()
    assert between > within


@pytest.mark.parametrize("number", [1, 24])
def test_cells_lie_in_the_field_or_around_it_and_apart(number):
    centres = cell_centres(number, 128, make_generator(0, number))
    assert np.all((centres >= -40) & (centres < 128 + 40))
    inside = np.all((centres >= 0) & (centres < 128), axis=1).sum()
    assert 0.5 * number <= inside <= max(2 * number, 3)
    if number > 1:
        apart = np.linalg.norm(centres[:, None] - centres[None], axis=2)
        np.fill_diagonal(apart, np.inf)
        thrown = make_generator(1).uniform(-20, 148, centres.shape)
        by_chance = np.linalg.norm(thrown[:, None] - thrown[None], axis=2)
        np.fill_diagonal(by_chance, np.inf)
        assert np.median(apart.min(axis=1)) > 1.3 * np.median(by_chance.min(axis=1))
