"""Relations of three compartments: any two channels look the same whatever the relation."""

from itertools import combinations

import numpy as np
import pytest

from phenomae.simulation.cell_states import COMPARTMENTS, TRIPLES, draw_states
from phenomae.simulation.cells import CHANNELS, draw_cells
from phenomae.simulation.design import Design, design_plates
from phenomae.simulation.effects import Effect
from phenomae.simulation.phenotype import PARAMETERS, cell_values
from phenomae.simulation.placement import cell_centres
from phenomae.simulation.seeds import make_generator
from phenomae.simulation.simulate import SimulateSettings

NAMES = list(PARAMETERS)


def plan(settings: SimulateSettings) -> Design:
    names = ("seed", "genes", "complexes", "guides", "batches", "controls", "effect")
    return design_plates(*(getattr(settings, name) for name in names), settings.values)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_states_have_the_moments_of_the_relation_and_no_others(seed):
    """All 31 products of compartments: those of three are the relation, all others are 0."""
    rng = make_generator(seed)
    relation = rng.standard_normal(len(TRIPLES))
    relation /= np.abs(relation).sum()
    states = draw_states(relation, 100_000, rng)
    expected = dict(zip(TRIPLES, relation, strict=True))
    for count in range(1, 6):
        for chosen in combinations(range(5), count):
            mean = states[:, chosen].prod(axis=1).mean()
            assert mean == pytest.approx(expected.get(chosen, 0.0), abs=0.015), chosen


@pytest.mark.parametrize("name", COMPARTMENTS)
def test_a_channel_shows_the_state_of_one_compartment_only(name):
    """So the joint distribution of two channels is that of two states: independent, whatever."""
    centres = cell_centres(6, 128, make_generator(0))

    def drawn(change: float) -> np.ndarray:
        units = np.zeros(len(NAMES))
        units[NAMES.index(name)] = change
        values = cell_values(units, 0.7, len(centres), make_generator(1))
        return draw_cells(values, centres, 128, make_generator(2))

    low, high = drawn(-1.5), drawn(1.5)
    changed = {c for c, a, b in zip(CHANNELS, low, high, strict=True) if not np.array_equal(a, b)}
    own = {
        "nucleoli_spread": {"DNA", "RNA"},
        "er_extent": {"ER"},
        "actin_cortex": {"Actin"},
        "golgi_spread": {"Golgi"},
        "mito_distance": {"Mito"},
    }
    assert changed == own[name]


def test_guides_of_relation_complexes_change_nothing_else():
    settings = SimulateSettings(level="real", genes=40, complexes=10, relation_complexes=0.5)
    design = plan(settings)
    relations = {}
    for (guide, effect), kind in ((item, kind_of(design, item[0])) for item in extras(design)):
        assert (kind == "relation") == bool(effect.relation.any())
        if kind == "relation":
            assert not design.phenotypes[guide].any()
            assert effect.number == 0
            assert not effect.brightness.any()
            assert np.abs(effect.relation).sum() <= 1 + 1e-9
            relations[guide] = effect.relation
    assert len(relations) == 5 * 4 * 3
    strongest = {guide[:4]: np.abs(its).max() for guide, its in relations.items()}
    assert min(strongest.values()) > 0.2


def extras(design: Design) -> list[tuple[str, Effect]]:
    return [item for item in design.effects.items() if not item[0].startswith("non-")]


def kind_of(design: Design, guide: str) -> str:
    pairs = design.relationships
    row = pairs.filter((pairs["entity1"] == guide[:4]) | (pairs["entity2"] == guide[:4]))
    return design.kinds[row["complex"][0]]
