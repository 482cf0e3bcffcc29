"""Precision at k and the nearest neighbors, beside scikit-learn and formulas typed out here."""

import tracemalloc
from pathlib import Path

import anndata
import numpy as np
import polars as pl
import pytest
from sklearn.neighbors import NearestNeighbors

from phenomae.evaluation.benchmark import benchmark
from phenomae.evaluation.recall.precision import measure_precision
from phenomae.evaluation.settings import BenchmarkSettings
from phenomae.maps.nearest import nearest_neighbors
from phenomae.maps.unit_vectors import unit_rows

COLUMNS = ["source", "k", "precision", "n_genes", "chance", "max_precision"]


def neighbors_of(features: np.ndarray, k: int) -> np.ndarray:
    """Return the nearest neighbors by scikit-learn, which lists a row itself first."""
    search = NearestNeighbors(n_neighbors=k + 1, metric="cosine", algorithm="brute")
    return search.fit(features).kneighbors(features)[1][:, 1:]


def draw(groups: int, size: int, others: int, noise: float, seed: int = 0) -> np.ndarray:
    """Return groups of similar rows, and rows of noise after them."""
    rng = np.random.default_rng(seed)
    centres = np.repeat(rng.normal(size=(groups, 12)), size, axis=0)
    return np.concatenate([centres, np.zeros((others, 12))]) + noise * rng.normal(
        size=(groups * size + others, 12)
    )


def pairs_of(groups: int, size: int) -> np.ndarray:
    rows = np.arange(groups * size).reshape(groups, size)
    one, other = np.triu_indices(size, k=1)
    return np.stack([rows[:, one].ravel(), rows[:, other].ravel()], axis=1)


def adjacency(pairs: np.ndarray, count: int) -> np.ndarray:
    known = np.zeros((count, count), bool)
    known[pairs[:, 0], pairs[:, 1]] = known[pairs[:, 1], pairs[:, 0]] = True
    return known


# A map smaller than its sample, and maps of two and three tiles a side, the last one narrow.
@pytest.mark.parametrize(("count", "width", "k"), [(30, 5, 29), (600, 9, 10), (1100, 3, 4)])
def test_neighbors_are_those_of_scikit_learn(count, width, k):
    features = np.random.default_rng(count).normal(size=(count, width))
    found = nearest_neighbors(unit_rows(features), k, seed=3)
    np.testing.assert_array_equal(found, neighbors_of(features, k))


def test_the_order_of_equal_neighbors_is_random():
    # Two blocks of 400 equal rows: every row has 399 nearest neighbors.
    unit = np.repeat(np.eye(2), 400, axis=0)
    found = nearest_neighbors(unit, 3, seed=0)
    own = np.arange(800)[:, None]
    assert (found // 400 == own // 400).all()
    assert (found != own).all()
    assert (np.diff(np.sort(found, axis=1)) > 0).all()
    # Neighbors in the order of the map would be the first rows of each block.
    assert abs((found % 400).mean() - 199.5) < 5 * np.sqrt(400**2 / 12 / 200)
    np.testing.assert_array_equal(found, nearest_neighbors(unit, 3, seed=0))
    assert (found != nearest_neighbors(unit, 3, seed=1)).any()


def test_one_feature_gives_precision_at_chance_whatever_the_order_of_the_map():
    # Members of a complex are neighboring rows, all with the cosine 1.
    pairs, features = pairs_of(100, 4), np.ones((400, 1))
    table = measure_precision(features, {"s": pairs}, [1, 10], BenchmarkSettings("x"))
    assert table["chance"].to_list() == pytest.approx([3 / 399] * 2)
    np.testing.assert_allclose(table["precision"], 3 / 399, atol=4 * np.sqrt(3 / 399 / 400))


def test_memory_holds_no_matrix_of_all_cosines():
    unit = unit_rows(np.random.default_rng(0).normal(size=(4000, 4)))
    tracemalloc.start()
    nearest_neighbors(unit, 5, seed=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4000**2 * 8 / 2  # half a matrix


@pytest.mark.parametrize("noise", [0.4, 1.2])
def test_precision_is_the_mean_share_of_known_partners(noise):
    features, pairs = draw(groups=20, size=3, others=15, noise=noise), pairs_of(20, 3)
    pairs = pairs[[1, 2, *range(4, 60)]]  # genes with one partner and with two
    settings = BenchmarkSettings("x", resamples=0)
    table = measure_precision(unit_rows(features), {"s": pairs}, [1, 4, 74], settings)
    known = adjacency(pairs, 75)
    genes = np.flatnonzero(known.any(axis=1))
    partners = known[genes].sum(axis=1)
    for row in table.iter_rows(named=True):
        k = row["k"]
        nearest = neighbors_of(features, k)
        shares = [known[gene, nearest[gene]].sum() / k for gene in genes]
        assert row["precision"] == pytest.approx(np.mean(shares))
        assert row["n_genes"] == len(genes)
        assert row["chance"] == pytest.approx(np.mean(partners / 74))
        assert row["max_precision"] == pytest.approx(np.mean(np.minimum(partners, k) / k))
        assert row["precision"] <= row["max_precision"] + 1e-12
        assert row["ci_low"] is row["ci_high"] is row["p"] is None
    # All other genes are neighbors of each: chance, whatever the map.
    assert table["precision"][2] == pytest.approx(table["chance"][2])


def test_the_interval_is_of_the_pigeonhole_bootstrap():
    features, pairs = draw(groups=15, size=4, others=0, noise=1.0), pairs_of(15, 4)
    settings = BenchmarkSettings("x", resamples=200, seed=5)
    table = measure_precision(unit_rows(features), {"s": pairs}, [1, 3], settings)
    known, nearest = adjacency(pairs, 60), neighbors_of(features, 3)
    for row in table.iter_rows(named=True):
        drawn = []
        for resample in range(200):
            rng = np.random.default_rng([5, resample])
            times = np.bincount(rng.integers(60, size=60), minlength=60)
            weights = times[:, None] * times[nearest[:, : row["k"]]]
            hits = known[np.arange(60)[:, None], nearest[:, : row["k"]]]
            drawn.append((weights * hits).sum() / weights.sum())
        assert (row["ci_low"], row["ci_high"]) == pytest.approx(np.quantile(drawn, [0.025, 0.975]))
        assert row["ci_low"] < row["precision"] < row["ci_high"]


@pytest.mark.parametrize("within", ["all", "degree"])
def test_p_counts_permutations_of_the_names(within):
    features, pairs = draw(groups=10, size=3, others=10, noise=2.5, seed=2), pairs_of(10, 3)
    pairs = pairs[2:]
    settings = BenchmarkSettings("x", resamples=0, shuffle=99, seed=1, within=within)
    table = measure_precision(unit_rows(features), {"s": pairs}, [2], settings)
    known, nearest = adjacency(pairs, 40), neighbors_of(features, 2)
    genes, degrees = known.any(axis=1).sum(), known.sum(axis=1)
    null = []
    for shuffle in range(99):
        rng = np.random.default_rng([1, shuffle])
        rows = np.arange(40)
        if within == "all":
            rows = rng.permutation(40)
        else:
            drawn = rng.random(40)
            for low, high in ((0, 0), (1, 1), (2, 3)):
                some = np.flatnonzero((degrees >= low) & (degrees <= high))
                rows[some] = some[np.argsort(drawn[some])]
        # The gene of row g is now at rows[g]: its partners are there, and so is its list.
        moved = np.zeros_like(known)
        moved[np.ix_(rows, rows)] = known
        null.append(moved[np.arange(40)[:, None], nearest].sum() / (2 * genes))
    beaten = np.sum(np.array(null) >= table["precision"][0] - 1e-9)
    assert 0 < beaten < 99
    assert table["p"][0] == pytest.approx((beaten + 1) / 100)


def test_noise_has_precision_at_chance():
    found = []
    for seed in range(40):
        unit = unit_rows(np.random.default_rng(seed).normal(size=(120, 8)))
        settings = BenchmarkSettings("x", resamples=0)
        found.append(measure_precision(unit, {"s": pairs_of(30, 4)}, [1], settings))
    rows = pl.concat(found)
    assert rows["chance"][0] == pytest.approx(3 / 119)
    assert rows["precision"].mean() == pytest.approx(3 / 119, abs=0.01)


def write_map(path: Path, features: np.ndarray, names: list[str]) -> Path:
    anndata.AnnData(features.astype(np.float32), obs={"obs_names": names}).write_h5ad(path)
    return path


@pytest.fixture
def planted(tmp_path: Path) -> tuple[Path, Path]:
    """A map of eight complexes of three genes, and the file that lists them."""
    features = draw(groups=8, size=3, others=0, noise=0.5)
    lines = [f"G{one:02d},G{other:02d}" for one, other in pairs_of(8, 3)]
    known = tmp_path / "known.csv"
    known.write_text("\n".join(["entity1,entity2", *lines, "G00,ABSENT"]) + "\n")
    names = [f"G{row:02d}" for row in range(24)]
    return write_map(tmp_path / "map.h5ad", features, names), known


def test_the_command_writes_and_prints_precision_beside_recall(planted, tmp_path, capsys):
    settings = BenchmarkSettings(planted[1], neighbors=(1, 5, 24, 30), shuffle=50)
    benchmark(planted[0], tmp_path / "results", settings=settings)
    printed = capsys.readouterr()
    assert "neighbors 24 30: left out, because the map has 24 genes" in printed.err
    table = pl.read_csv(tmp_path / "results/precision.csv")
    assert table.columns == [*COLUMNS, "ci_low", "ci_high", "p"]
    assert table["k"].to_list() == [1, 5]
    assert table["n_genes"].to_list() == [24, 24]
    assert table["max_precision"].to_list() == [1, 0.4]
    assert (table["p"] == 1 / 51).all()
    header, first, *_ = printed.out.split("\n\n")[1].splitlines()
    assert header.split() == table.columns
    assert first.split()[:2] == ["known", "1"]
    benchmark(planted[0], tmp_path / "results", settings=settings)
    assert capsys.readouterr().out == printed.out


def test_a_map_with_fewer_genes_than_neighbors_has_no_table(planted, tmp_path):
    settings = BenchmarkSettings(planted[1], neighbors=(24,))
    made = benchmark(planted[0], tmp_path / "results", settings=settings)
    assert "precision" not in made.tables


def test_known_pairs_are_listed_with_cosine_and_names_of_the_map(planted, tmp_path):
    features = anndata.read_h5ad(planted[0]).X
    names = [f"G{row:02d}" for row in range(23)] + ["G23_old"]
    write_map(tmp_path / "map.h5ad", features, names)
    (tmp_path / "aliases.csv").write_text("alias,gene\nG23_old,G23\n")
    settings = BenchmarkSettings(planted[1], aliases=tmp_path / "aliases.csv")
    made = benchmark(tmp_path / "map.h5ad", tmp_path / "results", settings=settings)
    listed = made.to_polars("known_pairs")
    expected = [(names[one], names[other]) for one, other in pairs_of(8, 3)]
    assert sorted(listed.select("entity1", "entity2").rows()) == sorted(expected)
    rows = {name: features[row] / np.linalg.norm(features[row]) for row, name in enumerate(names)}
    for row in listed.iter_rows(named=True):
        cosine = rows[row["entity1"]] @ rows[row["entity2"]]
        assert row["cosine"] == pytest.approx(cosine, abs=1e-6)
    assert listed["recalled"].mean() == pytest.approx(made.to_polars("recall")["recall"][0])


@pytest.mark.parametrize(
    ("neighbors", "sentence"),
    [
        ((), "neighbors must have at least one number, like 1"),
        ((0,), "neighbors must be at least 1, not 0"),
        ((1, -3), "neighbors must be at least 1, not -3"),
        ((2, 2), "neighbors has 2 twice: give it once"),
    ],
)
def test_numbers_of_neighbors_that_will_not_do(neighbors, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        BenchmarkSettings("known.csv", neighbors=neighbors)


@pytest.mark.parametrize(
    ("text", "words"), [("", "is missing or damaged"), ("source\nx\n", "lack")]
)
def test_a_damaged_table_is_to_be_made_again(planted, tmp_path, text, words, resign):
    settings = BenchmarkSettings(planted[1])
    benchmark(planted[0], tmp_path / "results", settings=settings)
    (tmp_path / "results/precision.csv").write_text(text)
    resign(tmp_path / "results")
    with pytest.raises(ValueError, match=rf"precision\.csv {words}.* again with overwrite"):
        benchmark(planted[0], tmp_path / "results", settings=settings)
