"""Spectra do not see relations of three compartments; they see what changes textures.

Fields have no nuisance, and all cells respond at full strength, which helps spectra most.
"""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from phenomae.embedding.hand_made.spectra import Spectra
from phenomae.simulation.cell_states import TRIPLES
from phenomae.simulation.design import Design, FieldPlace, design_plates
from phenomae.simulation.effects import Effect
from phenomae.simulation.phenotype import PARAMETERS
from phenomae.simulation.seeds import make_generator
from phenomae.simulation.simulate import SimulateSettings, draw_field

NAMES = list(PARAMETERS)
CLEAR = SimulateSettings(
    level="real", nuisance=0.0, penetrance=1.0, weakest_cell=1.0, weakest_guide=1.0, batches=1
)


def plan(settings: SimulateSettings) -> Design:
    names = ("seed", "genes", "complexes", "guides", "batches", "controls", "effect")
    return design_plates(*(getattr(settings, name) for name in names), settings.values)


def ridge_r2(features: np.ndarray, target: np.ndarray) -> float:
    """Return the R2 of predictions of fields that the ridge has not seen."""
    model = make_pipeline(StandardScaler(), RidgeCV(np.logspace(0, 6, 13)))
    folds = KFold(5, shuffle=True, random_state=0)
    predicted = cross_val_predict(model, features, target, cv=folds)
    return 1 - float(((target - predicted) ** 2).sum() / ((target - target.mean()) ** 2).sum())


@pytest.mark.slow
def test_ridge_of_spectra_predicts_a_texture_but_no_relation():
    """2,000 fields; the states of ER, Golgi and mitochondria are related."""
    settings = replace(CLEAR, genes=2, complexes=2, guides=1, controls=0)
    rng = make_generator(0)
    number, design, spectra = 2000, plan(settings), Spectra(16)
    relation, grain = rng.uniform(-1, 1, number), rng.uniform(-2, 2, number)
    rows = []
    for index in range(number):
        effect = Effect.nothing()
        effect.relation[TRIPLES.index((1, 3, 4))] = relation[index]
        phenotype = np.zeros(len(NAMES))
        phenotype[NAMES.index("er_grain")] = grain[index]
        its = replace(design, effects={"guide": effect}, phenotypes={"guide": phenotype})
        rows.append(spectra(draw_field(its, settings, FieldPlace(0, 0, "C05", "guide", index + 1))))
    features = np.array(rows)
    texture, of_relation = ridge_r2(features, grain), ridge_r2(features, relation)
    print(f"R2 of er_grain {texture:.3f}, of the relation {of_relation:.4f}")
    assert of_relation <= 0.02
    assert texture > 0.25


def map_genes(settings: SimulateSettings) -> tuple[dict[str, np.ndarray], Design]:
    """Draw a plate; return each gene's sum of spectra, whitened along 32 axes of the controls."""
    design, spectra = plan(settings), Spectra(16)
    wells = design.plate_map
    assert wells["plate"].n_unique() == 1
    rows = [
        spectra(draw_field(design, settings, FieldPlace(0, 0, well, guide, 1)))
        for well, guide in wells.select("well", "guide").iter_rows()
    ]
    features, control = np.array(rows), wells["control"].to_numpy()
    scaled = (features - features[control].mean(0)) / features[control].std(0)
    _, lengths, axes = np.linalg.svd(scaled[control], full_matrices=False)
    whitened = scaled @ axes[:32].T / lengths[:32]
    profiles = {
        gene: whitened[(wells["gene"] == gene).to_numpy()].sum(0)
        for gene in wells["gene"].unique()
        if gene != "non-targeting"
    }
    return profiles, design


def recall(profiles: dict[str, np.ndarray], design: Design) -> list[float]:
    """Return, per complex, the share of its pairs in the 5 % lowest or highest cosines."""
    genes = sorted(profiles)
    units = np.array([profiles[gene] / np.linalg.norm(profiles[gene]) for gene in genes])
    cosines = units @ units.T
    low, high = np.percentile(cosines[np.triu_indices(len(genes), 1)], (5, 95))
    hits: dict[str, list[bool]] = {}
    for first, second, complex_ in design.relationships.iter_rows():
        value = cosines[genes.index(first), genes.index(second)]
        hits.setdefault(complex_, []).append(bool(value <= low or value >= high))
    return [float(np.mean(its)) for its in hits.values()]


def interval(shares: list[float]) -> tuple[float, float, float]:
    """Return the mean over complexes, and its 95 % interval by a bootstrap over complexes."""
    drawn = make_generator(0).integers(len(shares), size=(10_000, len(shares)))
    low, high = np.percentile(np.array(shares)[drawn].mean(axis=1), (2.5, 97.5))
    return float(np.mean(shares)), float(low), float(high)


@pytest.mark.slow
def test_recall_of_relations_by_spectra_is_chance_over_eight_seeds():
    """All complexes are of one kind, so that chance is .10; of morphology spectra recall more."""
    settings = replace(CLEAR, genes=80, complexes=20, controls=96, sites=1, field_size=128)
    relation = replace(settings, relation_complexes=1.0, intensity_complexes=0.0)
    morphology = replace(settings, relation_complexes=0.0, intensity_complexes=0.0)
    shares: list[float] = []
    for seed in range(8):
        shares += recall(*map_genes(replace(relation, seed=seed)))
    of_relation, of_morphology = interval(shares), interval(recall(*map_genes(morphology)))
    print(f"recall of relations {of_relation}, of morphology {of_morphology}")
    assert of_relation[1] <= 0.10 <= of_relation[2]
    assert of_morphology[1] > 0.2
