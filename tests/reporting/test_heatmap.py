"""The heat map: its colours are rare in noise, and complexes and names of genes stand beside it."""

import re

import numpy as np
import polars as pl
import pytest
from matplotlib.colors import to_rgb

from phenomae.maps.read import ConsensusProfiles
from phenomae.reporting.evidence.clusters import cluster_map
from phenomae.reporting.evidence.known_complexes import NONE, find_complexes
from phenomae.reporting.evidence.null_cosines import shuffle_features
from phenomae.reporting.figures.heatmap import colour_strip, draw_heatmap, find_blocks
from phenomae.reporting.figures.null_scale import NullScale
from phenomae.reporting.figures.style import COLOURS, PALE, house_style

RNG = np.random.default_rng(7)
DECAY = np.geomspace(1, 0.01, 64)
# Maps of unrelated genes: of independent features, of correlated ones, with a mean far from 0, with
# fewer genes than features, with few features, and with heavy tails.
NOISE = {
    "independent": RNG.normal(size=(300, 64)),
    "few rows": RNG.normal(size=(40, 16)),
    "correlated": RNG.normal(size=(300, 64)) @ (RNG.normal(size=(64, 64)) * DECAY[:, None]),
    "a common mean": RNG.normal(size=(200, 32)) + 3,
    "more features than genes": RNG.normal(size=(100, 400)),
    "low rank": RNG.normal(size=(80, 5)) @ RNG.normal(size=(5, 300)) + RNG.normal(size=(80, 300)),
    "four features": RNG.normal(size=(300, 4)),
    "one feature": RNG.normal(size=(100, 1)),
    "heavy tails": RNG.standard_t(3, size=(300, 64)),
    "larger than the heat map": RNG.normal(size=(1500, 32)),
}


def make_map(features: np.ndarray, names: list[str] | None = None) -> ConsensusProfiles:
    names = names or [f"G{row}" for row in range(len(features))]
    return ConsensusProfiles(names, features.astype(np.float32), pl.DataFrame(), "identity")


def cosines_of(features: np.ndarray) -> np.ndarray:
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    return (unit @ unit.T)[np.triu_indices(len(unit), k=1)]


@pytest.mark.parametrize("kind", NOISE)
def test_a_heat_map_of_noise_is_white(kind):
    clusters = cluster_map(make_map(NOISE[kind]))
    with house_style():
        ax = draw_heatmap([f"G{row}" for row in range(len(NOISE[kind]))], clusters, {})
    image = ax.figure.axes[0].images[0]
    colours = image.cmap(image.norm(image.get_array()))[..., :3]
    off = ~np.eye(len(colours), dtype=bool)
    is_white = (colours == 1).all(axis=-1)[off]
    assert is_white.mean() > 0.99
    # Colours that one sees: half of the way from white to the end of the scale.
    strength = 1 - colours.min(axis=-1)[off]
    assert (strength > 0.5).mean() < 0.0005


@pytest.mark.parametrize("kind", ["independent", "correlated", "more features than genes"])
def test_the_unit_is_the_standard_deviation_of_unrelated_cosines(kind):
    # All genes are unrelated, so their own cosines are a sample of the null distribution.
    features = NOISE[kind]
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    null, own = shuffle_features(unit), cosines_of(features)
    assert null.sd == pytest.approx(own.std(), rel=0.06)
    assert null.mean == pytest.approx(own.mean(), abs=0.01)
    np.testing.assert_allclose(null.standardise(own), (own - null.mean) / null.sd)


def test_one_in_a_thousand_gaussian_cosines_is_beyond_the_threshold():
    unit = NOISE["independent"] / np.linalg.norm(NOISE["independent"], axis=1, keepdims=True)
    null = shuffle_features(unit)
    # The square of a cosine in d dimensions has a beta distribution (1/2, (d - 1)/2).
    from scipy.stats import beta

    limit = np.sqrt(beta.isf(0.001, 0.5, 63 / 2))
    assert null.threshold * null.sd == pytest.approx(limit, rel=0.03)


def test_planted_blocks_are_red_and_the_rest_is_white():
    rng = np.random.default_rng(1)
    features = rng.normal(size=(240, 64))
    features[:80] += np.repeat(1.5 * rng.normal(size=(20, 64)), 4, axis=0)
    order = rng.permutation(240)
    clusters = cluster_map(make_map(features[order]))
    group = np.where(order < 80, order // 4, -np.arange(240) - 1)[clusters.order]
    related = group[:, None] == group
    values = clusters.null.standardise(clusters.cosines)
    threshold = NullScale.fit(clusters.null, clusters.cosines).threshold
    off = ~np.eye(240, dtype=bool)
    assert (values[related & off] > threshold).mean() > 0.95
    assert (np.abs(values[~related]) > threshold).mean() < 0.01


def test_maps_in_which_nothing_varies_have_a_scale():
    for features in (np.ones((6, 3)), np.array([[1.0, 2.0], [2.0, 1.0]])):
        clusters = cluster_map(make_map(features))
        scale = NullScale.fit(clusters.null, clusters.cosines)
        assert 1 <= scale.threshold < scale.limit
        values = clusters.null.standardise(clusters.cosines)
        assert (np.abs(values[~np.eye(len(features), dtype=bool)]) < scale.threshold).all()


def test_a_scale_from_zero_has_the_same_units_and_colours_everything():
    unit = NOISE["independent"] / np.linalg.norm(NOISE["independent"], axis=1, keepdims=True)
    null, cosines = shuffle_features(unit), unit @ unit.T
    gated, whole = (NullScale.fit(null, cosines, from_zero=begin) for begin in (False, True))
    assert gated.limit == whole.limit == pytest.approx(2 * null.threshold)
    middle = whole.colour_map(0.5 + 1 / (2 * whole.limit))  # one standard deviation
    assert 0.5 < min(middle[:3]) < 1
    assert gated.colour_map(0.5 + 1 / (2 * gated.limit))[:3] == (1, 1, 1)


def pairs(*lines: str) -> pl.DataFrame:
    columns = {"entity1": pl.String, "entity2": pl.String}
    return pl.DataFrame([line.split() for line in lines], columns, orient="row")


def test_complexes_are_groups_of_genes_that_are_all_known_pairs():
    found = find_complexes(list("XCABYED"), pairs("A B", "B C", "C A", "D E"))
    assert found.tolist() == [NONE, 0, 0, 0, NONE, 1, 1]
    # A chain of pairs is no complex of all: a gene that fits two complexes is in the later one.
    assert find_complexes(list("ABCD"), pairs("A B", "B C", "C D")).tolist() == [0, 0, 1, 1]
    assert find_complexes(list("ABC"), pairs()).tolist() == [NONE] * 3


def test_the_strip_has_colours_where_members_are_neighbours():
    strip = colour_strip(np.array([NONE, 0, 0, NONE, 1, 0, 2, 2, 2]))
    expected = ["white", COLOURS[0], COLOURS[0], "white", PALE, PALE, *[COLOURS[2]] * 3]
    np.testing.assert_allclose(strip, [to_rgb(colour) for colour in expected])


def test_blocks_are_stretches_of_similar_neighbours():
    links = np.array([5.0, 1, 4, 4, 4, 0, 6, 6, 1])
    assert find_blocks(links, 3.0) == [range(2, 6), range(6, 9)]
    assert find_blocks(np.zeros(4), 3.0) == []
    assert find_blocks(np.full(4, 9.0), 3.0) == [range(5)]


@pytest.mark.parametrize("count", [60, 240, 1600])
def test_genes_are_named_and_complexes_are_beside_the_axis(count):
    rng = np.random.default_rng(2)
    features = rng.normal(size=(count, 48))
    features[:40] += np.repeat(4 * rng.normal(size=(10, 48)), 4, axis=0)
    order = rng.permutation(count)
    names = [f"GENE{row}" for row in order]
    clusters = cluster_map(make_map(features[order], names))
    ordered = [names[row] for row in clusters.order]
    known = pairs(*(f"GENE{4 * k} GENE{4 * k + 1}" for k in range(10)))
    strips = {"CORUM": find_complexes(ordered, known), "other": np.full(count, NONE)}
    with house_style():
        figure = draw_heatmap(names, clusters, strips).figure
    heat, strip, empty, *rest = figure.axes
    size = clusters.rows_per_cell
    assert strip.images[0].get_array().shape == (count, 1, 3)
    assert (empty.images[0].get_array() == 1).all()
    # A row of the strip is beside the cell of the heat map that has the row.
    assert strip.get_ylim() == heat.get_ylim()
    assert tuple(strip.images[0].get_extent()[2:]) == (count / size - 0.5, -0.5)
    if count <= 200:
        ticks = [label.get_text() for label in heat.get_yticklabels()]
        assert ticks == ordered
        return
    words = [text.get_text() for text in rest[0].texts]
    groups = [[int(number) // 4 for number in re.findall(r"GENE(\d+)", text)] for text in words]
    named = {group for block in groups for group in block if block.count(group) > 1 and group < 10}
    assert len(named) >= 8
    assert all(2 <= len(block) <= 3 for block in groups)
