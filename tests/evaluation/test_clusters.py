"""Clusters of a map: scanpy clusters the same, scikit-learn and SciPy count the same."""

import inspect
import itertools
import random
import sys
import warnings
from hashlib import sha256
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.stats import false_discovery_control, hypergeom
from sklearn.metrics import adjusted_rand_score
from sklearn.neighbors import NearestNeighbors

from phenomae import (
    BenchmarkSettings,
    ClustersSettings,
    MapSettings,
    NeighborsSettings,
    benchmark,
    check,
    cli,
    clusters,
    map_wells,
    neighbors,
    write_wells,
)
from phenomae.evaluation.annotations import Annotation, read_annotations
from phenomae.evaluation.clusters.clusters import number_by_size
from phenomae.evaluation.clusters.known_sets import sets_on_map
from phenomae.evaluation.clusters.leiden import build_graph, find_clusters
from phenomae.evaluation.clusters.no_clusters import draw_normal
from phenomae.evaluation.clusters.set_enrichment import KnownSets
from phenomae.evaluation.clusters.stability import measure_stability
from phenomae.evaluation.clusters.summary import print_summary
from phenomae.maps.umap_points import compute_points
from phenomae.maps.unit_vectors import unit_rows
from phenomae.records import feature_names
from phenomae.signatures import read_signature

NAMES = [f"G{row:03d}" for row in range(120)]


def draw(groups: int, spread: float) -> np.ndarray:
    """Return 120 profiles around so many centers."""
    rng = np.random.default_rng(groups)
    return rng.normal(size=(groups, 9))[np.arange(120) % groups] + spread * rng.normal(
        size=(120, 9)
    )


def make_map(path: Path, values: np.ndarray) -> Path:
    """Write a map of 120 rows, of which the last two are controls."""
    table = pl.DataFrame(
        {
            "plate": ["P1"] * 120,
            "well": [f"{chr(65 + row // 24)}{row % 24 + 1:02d}" for row in range(120)],
            "gene": NAMES,
            "control": [False] * 118 + [True] * 2,
        }
    )
    width = values.shape[1]
    features = pl.from_numpy(values.astype(np.float32), feature_names(width), orient="row")
    wells = path.parent / f"{path.stem}-wells"
    write_wells(wells, pl.concat([table, features], how="horizontal"), feature_names(width))
    map_wells(wells, path, settings=MapSettings(through="wells", controls=True))
    return path


@pytest.fixture(scope="module")
def planted(tmp_path_factory) -> Path:
    """A map of six clear groups: the rows whose numbers have the same remainder."""
    return make_map(tmp_path_factory.mktemp("planted") / "map.h5ad", draw(6, 0.2))


@pytest.fixture(scope="module")
def noise(tmp_path_factory) -> Path:
    """A map without groups."""
    return make_map(tmp_path_factory.mktemp("noise") / "map.h5ad", draw(1, 1.0) - draw(1, 0.0))


@pytest.fixture(scope="module")
def lists(tmp_path_factory) -> Path:
    """Sets: the groups of the map in part, and others at random."""
    folder = tmp_path_factory.mktemp("lists")
    rng = np.random.default_rng(0)
    sets = {f"group {n}": [NAMES[row] for row in range(n, 72, 6)] for n in range(6)}
    sets |= {f"other {n}": rng.choice(NAMES[:100], 6 + n, replace=False) for n in range(8)}
    sets["tiny"] = NAMES[100:103]
    lines = ["\t".join([name, "", *genes]) for name, genes in sets.items()]
    (folder / "sets.gmt").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="module")
def made(planted, lists, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("made") / "out"
    clusters(planted, out, settings=ClustersSettings(annotations=lists, shuffles=30, seeds=3))
    return out


def neighbors_of_scanpy(values: np.ndarray) -> anndata.AnnData:
    import scanpy

    table = anndata.AnnData(values)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what its own parts say of each other
        scanpy.pp.neighbors(table, n_neighbors=15, use_rep="X", metric="cosine")
    return table


@pytest.mark.parametrize(("groups", "spread"), [(6, 0.2), (1, 1.0)])
def test_the_graph_is_that_of_scanpy(groups, spread):
    values = draw(groups, spread)
    expected = neighbors_of_scanpy(values).obsp["connectivities"]
    found = build_graph(unit_rows(values), 15)
    assert (found != 0).sum() == (expected != 0).sum()
    np.testing.assert_allclose(found.toarray(), expected.toarray(), atol=1e-6)


@pytest.mark.parametrize("alike", [False, True])
def test_a_layout_starts_from_the_same_neighbors(alike, monkeypatch):
    """Also where rows are equal but for rounding, so that bits alone would order them."""
    umap_ = pytest.importorskip("umap.umap_")
    compute, given = umap_.fuzzy_simplicial_set, []

    def note(*words: Any, **named: Any) -> Any:
        bound = inspect.signature(compute).bind(*words, **named).arguments
        given.append((bound["knn_indices"], bound["knn_dists"]))
        return compute(*words, **named)

    monkeypatch.setattr(umap_, "fuzzy_simplicial_set", note)
    values = draw(6, 1e-13 if alike else 0.5)
    unit = unit_rows(values)
    build_graph(unit, 9)
    compute_points(unit, 9, 0.1, 0)
    (rows, distances), (its, theirs) = given
    np.testing.assert_array_equal(rows, its)
    np.testing.assert_array_equal(distances, theirs)
    search = NearestNeighbors(n_neighbors=9, metric="cosine").fit(values)
    np.testing.assert_allclose(distances, search.kneighbors(values)[0], atol=1e-12)
    if alike:  # the first rows of each group, in the order of the map, without the row itself
        for row in range(120):
            group = [other for other in range(row % 6, 120, 6) if other != row]
            assert rows[row].tolist() == [row, *group[:8]]


@pytest.mark.parametrize("resolution", [1.0, 2.5])
def test_labels_are_those_of_scanpy_with_the_same_graph_and_seed(resolution):
    import scanpy

    table = neighbors_of_scanpy(draw(1, 1.0))
    graph = table.obsp["connectivities"]
    ours = find_clusters(graph, resolution, range(3, 7))
    weights = graph.toarray()
    degrees, total = weights.sum(axis=1), weights.sum()
    excess = weights - resolution * np.outer(degrees, degrees) / total
    for seed, (found, modularity) in zip(range(3, 7), ours, strict=True):
        together = found[:, None] == found
        assert modularity == pytest.approx((excess * together).sum() / total, rel=1e-5)
        scanpy.tl.leiden(
            table,
            resolution,
            flavor="igraph",
            n_iterations=2,
            directed=False,
            random_state=seed,
        )
        np.testing.assert_array_equal(found, table.obs["leiden"].astype(int))
    assert len({tuple(found) for found, _ in ours}) > 1  # seeds matter here


def test_random_numbers_of_python_are_not_used():
    graph = neighbors_of_scanpy(draw(1, 1.0)).obsp["connectivities"]
    random.seed(1)
    [(first, _)] = find_clusters(graph, 1.0, range(1))
    after = random.random()
    random.seed(1)
    assert after == random.random()
    random.seed(2)
    [(second, _)] = find_clusters(graph, 1.0, range(1))
    np.testing.assert_array_equal(second, first)


@pytest.mark.parametrize(("rows", "width"), [(40, 3), (12, 20)])
def test_profiles_without_clusters_have_the_same_mean_and_covariance(rows, width):
    profiles = np.random.default_rng(0).normal(size=(rows, width)) @ np.diag(np.arange(width)) + 2
    drawn = np.concatenate([draw_normal(profiles, (0, draw)) for draw in range(2000)])
    expected = np.cov(profiles.T, bias=True)
    error = 5 * np.abs(expected).max() / np.sqrt(2000 * rows)
    np.testing.assert_allclose(np.cov(drawn.T), expected, atol=2 * error)
    deviation = np.sqrt(np.diag(expected) / (2000 * rows))
    np.testing.assert_array_less(
        np.abs(drawn.mean(axis=0) - profiles.mean(axis=0)), 5 * deviation + 1e-9
    )
    skewness = ((drawn - drawn.mean(axis=0)) ** 3).mean(axis=0)[1:] / np.diag(expected)[1:] ** 1.5
    np.testing.assert_allclose(skewness, 0, atol=5 * np.sqrt(6 / (2000 * rows)))
    assert not np.array_equal(draw_normal(profiles, (0, 1)), draw_normal(profiles, (0, 2)))


def test_stability_is_counted_by_hand():
    rng = np.random.default_rng(0)
    labels = [np.append(rng.integers(count, size=40), count) for count in (4, 5, 3)]
    found = measure_stability(labels)
    first, *others = labels
    for row in range(41):
        members = {other for other in range(41) if first[other] == first[row]} - {row}
        if not members:
            assert np.isnan(found.names[row])
            continue
        kept = [
            sum(other[member] == other[row] for member in members) / len(members)
            for other in others
        ]
        assert found.names[row] == pytest.approx(np.mean(kept))
    for number in range(5):
        mine = {*np.flatnonzero(first == number).tolist()}
        best = [max(len(mine & its) / len(mine | its) for its in groups(other)) for other in others]
        assert found.clusters[number] == pytest.approx(np.mean(best))
    expected = [adjusted_rand_score(*pair) for pair in itertools.combinations(labels, 2)]
    assert found.pairs["adjusted_rand"].to_list() == pytest.approx(expected)
    assert found.pairs.select("first", "second").rows() == [(0, 1), (0, 2), (1, 2)]


def groups(labels: np.ndarray) -> list[set[int]]:
    return [{*np.flatnonzero(labels == number).tolist()} for number in np.unique(labels)]


def test_one_run_has_no_stability():
    found = measure_stability([np.array([0, 0, 1])])
    assert np.isnan(found.names).all()
    assert np.isnan(found.clusters).all()
    assert found.pairs.is_empty()


def test_clusters_are_numbered_by_size_and_then_by_first_row():
    labels = np.array([3, 0, 0, 1, 2, 2, 1, 0])
    assert number_by_size(labels).tolist() == [3, 0, 0, 1, 2, 2, 1, 0]
    assert number_by_size(labels[::-1]).tolist() == [0, 1, 2, 2, 1, 0, 0, 3]


def draw_sets(count: int) -> dict[str, dict[str, np.ndarray]]:
    """Return two sources with sets of 1 to 9 of the first rows."""
    rng = np.random.default_rng(count)
    return {
        source: {
            f"{source} {n}": np.sort(rng.choice(rows, rng.integers(1, 10), replace=False))
            for n in range(count)
        }
        for source, rows in {"a": 50, "b": 30}.items()
    }


def test_enrichment_is_that_of_scipy():
    sets, names = draw_sets(25), [f"N{row}" for row in range(60)]
    labels = np.repeat(np.arange(6), 10)  # the last cluster is in no background
    labels[:8] = 5
    labels[50:] = 6
    known = KnownSets(sets, min_genes=3)
    table, tests = known.enrichment(labels, names)
    expected = {}
    for source, every in sets.items():
        background = {row for rows in every.values() for row in rows.tolist()}
        tested = {name: {*rows.tolist()} for name, rows in every.items() if len(rows) >= 3}
        for cluster in range(7):
            drawn = {*np.flatnonzero(labels == cluster).tolist()} & background
            for name, rows in tested.items() if drawn else ():
                shared = drawn & rows
                total = len(background)
                p = hypergeom.sf(len(shared) - 1, total, len(rows), len(drawn))
                members = " | ".join(names[row] for row in sorted(shared))
                mean = len(drawn) * len(rows) / total
                numbers = (len(shared), mean, len(drawn), len(rows), total, p)
                expected[cluster, source, name] = (*numbers, members)
    assert tests == len(expected)
    assert known.count == sum(len(rows) > 2 for its in sets.values() for rows in its.values())
    fdr = false_discovery_control([row[5] for row in expected.values()])
    listed = {key: (*row, q) for (key, row), q in zip(expected.items(), fdr, strict=True)}
    listed = {key: row for key, row in listed.items() if row[0] >= 2}
    assert len(table) == len(listed)
    columns = ["overlap", "expected", "in_cluster", "in_set", "background", "p", "names", "fdr"]
    for key, row in zip(
        table.select("cluster", "source", "set").rows(), table.select(columns).rows(), strict=True
    ):
        wanted = listed[key]
        assert row[6] == wanted[6]
        assert [*row[:6], row[7]] == pytest.approx([*wanted[:6], wanted[7]], rel=1e-9)
    assert table["p"].is_sorted()
    level = float(np.quantile([row[7] for row in listed.values()], 0.2))
    enriched = {key[0] for key, row in listed.items() if row[7] <= level * (1 + 1e-9)}
    count, lowest = known.summarize(labels, level * (1 + 1e-9))
    assert count == len(enriched)
    assert lowest == pytest.approx(min(row[5] for row in expected.values()), rel=1e-9)


def test_small_p_values_keep_their_digits():
    rows = np.arange(300)
    known = KnownSets({"a": {"half": rows[:150], "rest": rows[150:]}}, 2)
    table, _ = known.enrichment((rows >= 150).astype(np.int64), [f"N{row}" for row in rows])
    assert table["p"][0] == pytest.approx(hypergeom.sf(149, 300, 150, 150), rel=1e-9)
    assert table["p"][0] < 1e-80


def test_sets_of_every_kind_of_list(tmp_path):
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/sets.gmt").write_text("one\tx\tA\tB\tZ\none\ty\tB\tC\nnone\tz\tY\n")
    (tmp_path / "lists/table.csv").write_text("gene,complex\nA,two\nC,two\nA,two\nB,three\n")
    # A, B and C are all partners of each other; D is one of A alone.
    (tmp_path / "lists/pairs.csv").write_text("entity1,entity2\nA,B\nB,C\nC,A\nD,E\nE,F\nE,Z\n")
    (tmp_path / "known.tsv").write_text("four\tA F X\nfive\tQ\n")
    lists = read_annotations(tmp_path / "lists", as_sets=True)
    assert [source.name for source in lists] == ["pairs", "sets", "table"]
    found = sets_on_map(lists, tmp_path / "known.tsv", list("ABCDEF"))
    as_lists = {
        source: {name: rows.tolist() for name, rows in sets.items()}
        for source, sets in found.items()
    }
    assert as_lists == {
        "pairs": {
            "partners of A, B, C": [0, 1, 2],
            "partners of D": [3, 4],
            "partners of E": [3, 4, 5],
            "partners of F": [4, 5],
        },
        "sets": {"one": [0, 1], "one (line 2)": [1, 2]},
        "table": {"two": [0, 2], "three": [1]},
        "known": {"four": [0, 5]},
    }
    assert lists[1].genes.to_list() == ["A", "B", "C", "Y", "Z"]
    assert read_annotations(tmp_path / "lists")[1].sets is None


def test_a_set_of_many_partners_has_a_short_name():
    pairs = pl.DataFrame(
        [*itertools.combinations("ABCDE", 2)], ["entity1", "entity2"], orient="row"
    )
    found = sets_on_map([Annotation("x", pairs, "")], None, list("EDCBA"))
    assert [*found["x"]] == ["partners of E, D, C and 2 more"]


def test_planted_clusters_are_found_with_their_sets(made, capsys):
    table = pl.read_csv(made / "clusters.csv")
    assert table["name"].sort().to_list() == NAMES
    assert table["cluster"].is_sorted()
    for (_,), part in table.partition_by("cluster", as_dict=True).items():
        assert len({int(name[1:]) % 6 for name in part["name"]}) == 1
        assert part["name"].is_sorted()
    assert table.filter("control")["name"].sort().to_list() == NAMES[118:]
    assert table["stability"].min() == 1
    sizes = pl.read_csv(made / "sizes.csv")
    assert sizes["names"].to_list() == [20] * 6
    assert sizes["controls"].sum() == 2
    assert sizes["jaccard"].to_list() == [1] * 6
    members = {tuple(text.split(" | ")) for text in sizes["members"]}
    assert members == {tuple(NAMES[remainder::6]) for remainder in range(6)}
    assert pl.read_csv(made / "agreement.csv").rows() == [(0, 1, 1), (0, 2, 1), (1, 2, 1)]
    best = pl.read_csv(made / "enrichment.csv").head(6)
    assert {*best["set"]} == {f"group {n}" for n in range(6)}
    assert (best["overlap"] == 12).all()
    (chance,) = pl.read_csv(made / "chance.csv").rows(named=True)
    assert (chance["clusters"], chance["sets"], chance["tests"]) == (6, 14, 84)
    assert (chance["enriched"], chance["n"]) == (6, 30)
    assert chance["enriched_p"] == chance["lowest_p"] == pytest.approx(1 / 31)
    assert chance["lowest"] == best["p"][0]


def test_the_lists_are_the_same_source_as_those_of_benchmark_and_neighbors(
    made, planted, lists, tmp_path
):
    benchmark(planted, tmp_path / "results", settings=BenchmarkSettings(lists, resamples=0))
    settings = NeighborsSettings(k=1, draws=5, annotations=lists)
    neighbors(planted, out=tmp_path / "neighbors", settings=settings)
    digest = sha256((lists / "sets.gmt").read_bytes()).hexdigest()[:32]
    expected = sha256(f'{{"sets":"{digest}"}}'.encode()).hexdigest()[:32]
    for folder in (made, tmp_path / "results", tmp_path / "neighbors"):
        assert read_signature(folder)["sources"]["annotations"] == expected


def test_chance_is_that_of_shuffled_names(planted, lists, tmp_path):
    settings = ClustersSettings(annotations=lists, shuffles=12, seeds=1, seed=5, level=0.9)
    out = clusters(planted, tmp_path / "out", settings=settings)
    table = out.to_polars("clusters").sort("name")
    assert table["stability"].null_count() == 120
    labels = table["cluster"].to_numpy()
    (sets,) = sets_on_map(read_annotations(lists, as_sets=True), None, NAMES).values()
    sets = {name: rows for name, rows in sets.items() if len(rows) >= 5}
    background = np.arange(103)  # all sets, the small one too, are of these rows
    used = np.unique(np.concatenate([*sets.values(), np.arange(100, 103)]))
    background = background[np.isin(background, used)]
    counts = []
    for number in range(12):
        mixed = np.random.default_rng([5, number]).permutation(labels)
        shared = {
            (cluster, name): int((mixed[rows] == cluster).sum())
            for cluster in range(6)
            for name, rows in sets.items()
        }
        drawn = np.bincount(mixed[background], minlength=6)
        p = [
            hypergeom.sf(count - 1, len(background), len(sets[name]), drawn[cluster])
            for (cluster, name), count in shared.items()
        ]
        rates = zip(shared, false_discovery_control(p), strict=True)
        hits = {key[0] for key, rate in rates if rate <= 0.9 and shared[key] >= 2}
        counts.append(len(hits))
    (chance,) = out.to_polars("chance").rows(named=True)
    assert chance["shuffled"] == pytest.approx(np.mean(counts))
    assert 0 < chance["shuffled"] < 6
    assert chance["enriched_p"] == (1 + sum(c >= chance["enriched"] for c in counts)) / 13


def test_what_is_printed(planted, lists, tmp_path, capsys):
    flags = ["--annotations", str(lists), "--shuffles", "20", "--seeds", "2"]
    assert cli.run(["clusters", str(planted), str(tmp_path / "out"), *flags]) == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert lines[0].split() == [
        *("cluster", "names", "jaccard", "set", "source", "overlap", "in_set", "fdr")
    ]
    assert len(lines) == 7
    assert all(" group " in line for line in lines[1:])
    said = printed.err
    assert "6 clusters of 120 names, of 20 to 20 names each" in said
    assert "2 of the names are controls, which are clustered as well" in said
    assert "adjusted Rand index 1.000 over 1 pair of seeds (1.000 to 1.000)" in said
    assert "come back with other seeds (mean Jaccard at least 0.75): 6 of 6; that do" in said
    assert "(false discovery rate at most 0.05, 84 tests): 6 of 6; of random clusters" in said
    own, *normal = pl.read_csv(tmp_path / "out/structure.csv")["modularity"]
    assert own > max(normal)
    assert f"modularity {own:.3f}; of 5 maps without clusters" in said
    assert "do not rely on them" not in said
    assert "not more clustered" not in said
    assert "say nothing of the clusters" not in said
    assert f"{tmp_path / 'out'}: 6 clusters, 120 names" in said


def test_clusters_of_noise_are_said_to_be_such(noise, lists, tmp_path, capsys):
    settings = ClustersSettings(annotations=lists, shuffles=20, resolution=2)
    out = clusters(noise, tmp_path / "out", settings=settings)
    said = capsys.readouterr().err
    assert "random clusters are as enriched: these known sets say nothing of the clust" in said
    structure = out.to_polars("structure")
    assert structure["profiles"].to_list() == ["map", *["normal"] * 5]
    own, *normal = structure["modularity"]
    assert own <= max(normal)  # as for half of all seeds
    numbers = f"modularity {own:.3f}; of 5 maps without clusters, drawn from one normal"
    assert numbers in said
    assert f"{min(normal):.3f} to {max(normal):.3f}" in said
    assert "this map is not more clustered than those" in said


def test_clusters_that_depend_on_the_seed_are_said_to_do_so(capsys):
    sizes = pl.DataFrame(
        {
            "cluster": [0, 1, 2],
            "names": [5, 4, 2],
            "controls": [0, 0, 0],
            "jaccard": [0.74, 0.75, 0.2],
            "members": ["x"] * 3,
        }
    )
    agreement = pl.DataFrame({"seed": [0], "other_seed": [1], "adjusted_rand": [0.25]})
    structure = pl.DataFrame({"modularity": [0.5]})
    tables = {"sizes": sizes, "agreement": agreement, "structure": structure}
    print_summary(tables, 0.05)
    said = capsys.readouterr().err
    assert "adjusted Rand index 0.250 over 1 pair of seeds (0.250 to 0.250)" in said
    assert "(mean Jaccard at least 0.75): 1 of 3; that do not (less than 0.5): 1" in said
    assert "most names are in clusters that do not come back: they depend on the seed" in said
    assert "modularity" not in said


def test_run_again_it_is_there_and_has_the_same_bytes(planted, lists, made, tmp_path, capsys):
    settings = ClustersSettings(annotations=lists, shuffles=30, seeds=3)
    before = {path.name: path.read_bytes() for path in made.iterdir()}
    assert sorted(before) == [
        *("agreement.csv", "artefact.json", "chance.csv", "clusters.csv", "enrichment.csv"),
        *("sizes.csv", "structure.csv"),
    ]
    clusters(planted, made, settings=settings)
    assert "is already there, made with the same settings" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"another setting: resolution = 1\.0, now 2\.0"):
        clusters(planted, made, settings=ClustersSettings(annotations=lists, resolution=2.0))
    clusters(planted, tmp_path / "again", settings=settings)
    assert {path.name: path.read_bytes() for path in (tmp_path / "again").iterdir()} == before
    assert check(made, among=[planted.parent])["state"][0] == "complete"


def test_without_known_sets_members_are_shown(planted, tmp_path, capsys):
    out = clusters(planted, tmp_path / "out", settings=ClustersSettings(seeds=1))
    assert out.tables == ["agreement", "clusters", "sizes", "structure"]
    assert "G000 | G006 | G012" in capsys.readouterr().out
    assert repr(out).endswith("6 clusters, 120 names)")


@pytest.mark.parametrize("columns", [True, False])
def test_maps_of_other_software_have_no_controls(tmp_path, columns):
    obs = pd.DataFrame({"wells": range(120)} if columns else {}, index=NAMES)
    anndata.AnnData(draw(6, 0.2), obs=obs).write_h5ad(tmp_path / "map.h5ad")
    out = clusters(tmp_path / "map.h5ad", tmp_path / "out", settings=ClustersSettings(seeds=2))
    assert out.to_polars("clusters")["control"].null_count() == 120
    assert out.to_polars("sizes")["controls"].null_count() == 6


def write_foreign(path: Path, values: Any) -> Path:
    obs = pd.DataFrame({"wells": range(len(values))}, index=NAMES[: len(values)])
    anndata.AnnData(np.asarray(values, dtype=np.float32), obs=obs).write_h5ad(path)
    return path


def test_maps_that_have_no_clusters(tmp_path, capsys):
    rng = np.random.default_rng(0)
    few = write_foreign(tmp_path / "few.h5ad", rng.normal(size=(3, 4)))
    with pytest.raises(ValueError, match=r"few\.h5ad has 3 rows: clusters need 4 or more"):
        clusters(few, tmp_path / "out")
    alike = write_foreign(tmp_path / "alike.h5ad", np.outer(np.arange(1, 9), [1, 2]))
    with pytest.raises(ValueError, match="are all alike: clusters need rows that differ"):
        clusters(alike, tmp_path / "out")
    empty = write_foreign(tmp_path / "empty.h5ad", [[0, 0], *rng.normal(size=(7, 2))])
    with pytest.raises(ValueError, match="infinite or all 0 and have no cosine: G000"):
        clusters(empty, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    small = write_foreign(tmp_path / "small.h5ad", rng.normal(size=(6, 3)))
    clusters(small, tmp_path / "out")
    assert f"n_neighbors is 5, because {small} has only 6 rows" in capsys.readouterr().err


def test_sets_that_do_not_fit_the_map(planted, lists, tmp_path):
    def run(**settings: Any) -> None:
        clusters(planted, tmp_path / "out", settings=ClustersSettings(**settings))

    with pytest.raises(ValueError, match=r"no set has 50 names .* like G000, G001.* most are 13: "):
        run(annotations=lists, min_genes=50)
    with pytest.raises(ValueError, match=r"absent\.tsv: there is no such file of complexes"):
        run(complexes=tmp_path / "absent.tsv")
    (tmp_path / "sets.tsv").write_text("one\tG000 G001\n")
    with pytest.raises(ValueError, match=r"both have a source sets: rename one of them"):
        run(annotations=lists, complexes=tmp_path / "sets.tsv")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("module", "package"), [("igraph", "igraph"), ("umap", "umap-learn")])
def test_packages_that_are_not_installed(planted, tmp_path, monkeypatch, capsys, module, package):
    monkeypatch.setitem(sys.modules, module, None)  # as if it were not installed
    assert cli.run(["clusters", str(planted), str(tmp_path / "out")]) == 1
    sentence = f"clusters need the package {package}: pip install 'phenomae[explore]'"
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("n_neighbors", 1, "n_neighbors must be at least 2, not 1"),
        ("resolution", 0, "resolution must be above 0, not 0"),
        ("seeds", 0, "seeds must be at least 1, not 0"),
        ("seeds", 1.5, "seeds must be a whole number, not 1.5"),
        ("seed", -1, "seed must be from 0 to"),
        ("normal_maps", -1, "normal_maps must be at least 0, not -1"),
        ("min_genes", 1, "min_genes must be at least 2, not 1"),
        ("level", 2.0, "level must be"),
        ("shuffles", 0, "shuffles must be at least 1, not 0"),
    ],
)
def test_settings_out_of_range(name, value, sentence):
    with pytest.raises(ValueError, match=sentence):
        ClustersSettings(**{name: value})
