"""Known pairs one by one: cosines of scikit-learn, ranks by numpy, and the recall of benchmark."""

import numpy as np
import polars as pl
import pytest
from scipy.stats import percentileofscore
from sklearn.metrics.pairwise import cosine_similarity

from phenomae import benchmark, map_wells, write_wells
from phenomae.evaluation.annotations import read_annotations
from phenomae.evaluation.known_pairs import compare_pairs
from phenomae.evaluation.recall import tiles
from phenomae.evaluation.recall.cosines import pair_cosines
from phenomae.evaluation.recall.pair_ranks import rank_pairs
from phenomae.evaluation.settings import BenchmarkSettings
from phenomae.maps.map import MapSettings
from phenomae.maps.read import read_map
from phenomae.maps.unit_vectors import unit_map, unit_rows

ROWS = 61


@pytest.fixture(params=[8, 24, 512])
def side(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Tiles smaller than the map, which they do not divide, and one that holds it."""
    monkeypatch.setattr(tiles, "SIDE", request.param)
    return request.param


@pytest.fixture
def features() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(ROWS, 6))


def some_pairs(share: float, seed: int) -> np.ndarray:
    every = np.argwhere(np.triu(np.ones((ROWS, ROWS)), k=1))
    drawn = np.random.default_rng(seed).permutation(every)
    return drawn[: int(share * len(every))]


@pytest.mark.usefixtures("side")
@pytest.mark.parametrize("share", [0.0, 0.02, 1.0])
def test_ranks_are_those_that_numpy_counts(features, share):
    unit, pairs = unit_rows(features), some_pairs(share, seed=1)
    found = rank_pairs(unit, pairs[:, ::-1], others=0)
    all_cosines = pair_cosines(unit, some_pairs(1.0, seed=2))
    wanted = cosine_similarity(features)[pairs[:, 0], pairs[:, 1]]
    np.testing.assert_allclose(found.cosines, wanted, atol=1e-12)
    smaller = (all_cosines < found.cosines[:, None]).sum(axis=1)
    at_most = (all_cosines <= found.cosines[:, None]).sum(axis=1)
    np.testing.assert_array_equal(found.smaller, smaller)
    np.testing.assert_array_equal(found.at_most, at_most)
    assert found.others.shape == (0, 2)


@pytest.mark.usefixtures("side")
def test_equal_cosines_share_their_ranks():
    # One feature: 20 rows point up, 21 down. 210 + 190 pairs have the cosine 1, 420 have -1.
    unit = unit_rows(np.repeat([[3.0], [-0.1]], [20, 21], axis=0))
    found = rank_pairs(unit, np.array([[0, 1], [0, 40], [39, 40]]), others=5)
    assert found.smaller.tolist() == [420, 0, 420]
    assert found.at_most.tolist() == [820, 420, 820]
    # Of equal cosines the first on the map, without the pair that is known.
    assert found.others.tolist() == [[0, 2], [0, 3], [0, 4], [0, 5], [0, 6]]


@pytest.mark.usefixtures("side")
@pytest.mark.parametrize("most", [1, 40, 5000])
def test_the_highest_others_are_those_of_a_full_sort(features, most):
    unit, pairs = unit_rows(features), some_pairs(0.4, seed=3)
    allowed = np.arange(ROWS) % 7 != 2
    cosines = cosine_similarity(features)
    cosines[np.tril_indices(ROWS)] = -np.inf
    cosines[pairs[:, 0], pairs[:, 1]] = -np.inf
    cosines[~allowed], cosines[:, ~allowed] = -np.inf, -np.inf
    order = np.argsort(-cosines, axis=None)[: min(most, np.isfinite(cosines).sum())]
    found = rank_pairs(unit, pairs[:, ::-1], most, allowed)
    np.testing.assert_array_equal(found.others, np.column_stack(np.divmod(order, ROWS)))
    np.testing.assert_allclose(found.other_cosines, cosines.ravel()[order], atol=1e-12)


@pytest.fixture
def made(tmp_path, features):
    """Paths of a map of 60 genes and a control, and of two sources that share pairs."""
    names = [f"GENE{row:02d}" for row in range(ROWS - 1)] + ["NTC"]
    table = pl.DataFrame(
        {
            "plate": ["P1"] * ROWS,
            "well": [f"{'ABC'[row // 24]}{row % 24 + 1:02d}" for row in range(ROWS)],
            "gene": names,
            "control": [name == "NTC" for name in names],
        }
    )
    wells = pl.concat([table, pl.from_numpy(features.astype(np.float32))], how="horizontal")
    write_wells(tmp_path / "wells", wells, wells.columns[4:])
    path = tmp_path / "map.h5ad"
    map_wells(tmp_path / "wells", path, settings=MapSettings(through="wells", controls=True))
    known = tmp_path / "known"
    known.mkdir()
    named = dict(enumerate(names))
    for source, share in (("a", 0.1), ("b", 0.3)):
        # The same shuffled list, so that b has the pairs of a, and one pair twice.
        pairs = [f"{named[one]},{named[other]}" for one, other in some_pairs(share, seed=4)]
        (known / f"{source}.csv").write_text("\n".join(["entity1,entity2", *pairs, pairs[0]]))
    return path, known


def test_found_pairs_are_those_that_benchmark_recalls(made, tmp_path):
    path, known = made
    settings = BenchmarkSettings(known, low=(0.05, 0.2), high=(0.95, 0.8), resamples=0)
    benchmark(path, tmp_path / "results", settings=settings)
    recall = pl.read_csv(tmp_path / "results" / "recall.csv")
    profiles = read_map(path)
    unit = unit_map(profiles, path)
    for percentiles in ((0.05, 0.95), (0.2, 0.8)):
        found = compare_pairs(
            profiles.names, unit, read_annotations(known), percentiles=percentiles
        )
        of_benchmark = recall.filter(pl.col("low") == percentiles[0])
        counts = found.counts()
        assert counts["source"].to_list() == of_benchmark["source"].to_list() == ["a", "b"]
        assert counts["pairs"].to_list() == of_benchmark["n_pairs"].to_list()
        recalled = counts["similar"] + counts["opposite"]
        wanted = (of_benchmark["recall"] * of_benchmark["n_pairs"]).round()
        assert recalled.to_list() == wanted.to_list()
        assert (recalled + counts["missed"]).to_list() == counts["pairs"].to_list()
        np.testing.assert_allclose(counts["recall"], of_benchmark["recall"])
    one_by_one = pl.read_csv(tmp_path / "results" / "known_pairs.csv")
    first = compare_pairs(profiles.names, unit, read_annotations(known)).known
    keys = ["source", "entity1", "entity2"]
    joined = first.join(one_by_one, on=keys, validate="1:1")
    assert len(joined) == len(first) == len(one_by_one)
    assert joined["found"].to_list() == joined["recalled"].to_list()


def test_each_pair_has_its_cosine_percentile_and_side(made):
    path, known = made
    profiles = read_map(path)
    found = compare_pairs(profiles.names, unit_map(profiles, path), read_annotations(known))
    cosines = cosine_similarity(profiles.features.astype(np.float64))
    upper = cosines[np.triu_indices(ROWS, k=1)]
    low, high = np.quantile(upper, [0.05, 0.95])
    rows = {name: row for row, name in enumerate(profiles.names)}
    for row in found.known.rows(named=True):
        cosine = cosines[rows[row["entity1"]], rows[row["entity2"]]]
        assert row["cosine"] == pytest.approx(cosine, abs=1e-9)
        below = percentileofscore(upper, cosine - 1e-9, kind="strict") / 100
        assert row["percentile"] == pytest.approx(below, abs=1e-9)
        side = "similar" if cosine > high else "opposite" if cosine < low else None
        assert row["side"] == side
        assert row["found"] == (side is not None)


def test_new_pairs_are_in_no_source_and_have_no_control(made):
    path, known = made
    profiles = read_map(path)
    controls = profiles.obs["control"].to_numpy()
    assert controls.sum() == 1
    unit, annotations = unit_map(profiles, path), read_annotations(known)
    found = compare_pairs(profiles.names, unit, annotations, new=30, controls=controls).new
    listed = {frozenset(pair) for its in annotations for pair in its.pairs.rows()}
    cosines = cosine_similarity(profiles.features.astype(np.float64))
    wanted = sorted(
        (
            (-cosines[one, other], profiles.names[one], profiles.names[other])
            for one, other in some_pairs(1.0, seed=5)
            if frozenset({profiles.names[one], profiles.names[other]}) not in listed
            and "NTC" not in (profiles.names[one], profiles.names[other])
        )
    )[:30]
    assert [(*pair,) for pair in found.select("entity1", "entity2").rows()] == [
        (one, other) for _, one, other in wanted
    ]
    np.testing.assert_allclose(found["cosine"], [-cosine for cosine, _, _ in wanted], atol=1e-9)


def test_the_highest_known_pairs_name_all_their_sources(made):
    path, known = made
    profiles = read_map(path)
    found = compare_pairs(profiles.names, unit_map(profiles, path), read_annotations(known))
    top = found.highest(8)
    every = found.known.group_by("entity1", "entity2").agg(
        pl.col("cosine").max(), pl.col("source").sort().alias("its")
    )
    wanted = every.sort("cosine", descending=True).head(8)
    assert top["entity1"].to_list() == wanted["entity1"].to_list()
    assert top["sources"].to_list() == [" | ".join(its) for its in wanted["its"]]
    assert {"a | b", "b"} >= set(top["sources"])


def test_without_annotations_all_pairs_are_new(features):
    names = [f"G{row}" for row in range(ROWS)]
    found = compare_pairs(names, unit_rows(features), [], new=3)
    assert found.known.is_empty()
    assert found.counts().is_empty()
    cosines = cosine_similarity(features)
    cosines[np.tril_indices(ROWS)] = -2
    best = np.unravel_index(cosines.argmax(), cosines.shape)
    assert found.new.row(0)[:2] == tuple(names[row] for row in best)
