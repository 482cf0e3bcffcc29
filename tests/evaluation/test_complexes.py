"""Complexes of genes: which are read, their cosines within and between, the test of the two."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import false_discovery_control, ks_2samp
from sklearn.metrics.pairwise import cosine_similarity

from phenomae.evaluation.questions.complexes import (
    ComplexSettings,
    compare_complex,
    compare_complexes,
    read_complexes,
    rows_on_map,
    share_apart,
)
from phenomae.maps.read import ConsensusProfiles
from phenomae.maps.unit_vectors import unit_rows

HERE = Path("MAP.h5ad")


def make_map(features: np.ndarray, names: list[str] | None = None) -> ConsensusProfiles:
    names = names or [f"G{row:03d}" for row in range(len(features))]
    return ConsensusProfiles(names, features.astype(np.float32), pl.DataFrame(), "")


@pytest.fixture
def planted(tmp_path: Path) -> tuple[ConsensusProfiles, Path]:
    """A map of two planted complexes of 12 genes, one of 12 unlike genes, and the rest."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(90, 8))
    features[:24] += np.repeat(2 * rng.normal(size=(2, 8)), 12, axis=0)
    lines = [
        f"{name}\t" + " ".join(f"G{row:03d}" for row in rows)
        for name, rows in (
            ("one", range(12)),
            ("two", range(12, 24)),
            ("unlike", range(40, 52)),
            ("small", range(60, 69)),
        )
    ]
    path = tmp_path / "complexes.tsv"
    path.write_text("\n".join([*lines, "yeast\tCDC28 CLN2"]) + "\n")
    return make_map(features), path


def test_planted_complexes_stand_apart(planted):
    genes, path = planted
    settings = ComplexSettings(path)
    table = compare_complexes(genes, HERE, settings)
    assert table.columns == ["complex", "genes_on_map", "within", "between", "ks", "ks_p"]
    assert table["complex"].to_list() == ["one", "two", "unlike"]
    assert table["genes_on_map"].to_list() == [12, 12, 12]
    assert (table["ks_p"][:2] < 1e-6).all()
    assert table["within"][:2].min() > 0.5
    adjusted = false_discovery_control(table["ks_p"].to_numpy())
    apart = (adjusted <= 0.05) & (table["within"] > table["between"]).to_numpy()
    found = share_apart(genes, table, HERE, settings, shuffles=20)
    assert found.columns == ["complexes", "apart", "shuffled", "sd", "n"]
    complexes, share, shuffled, sd, count = found.row(0)
    assert (complexes, count) == (3, 20)
    assert share == pytest.approx(apart.mean())
    assert share > 0.6
    assert shuffled < 0.3
    assert sd > 0
    assert share_apart(genes, table, HERE, settings).row(0)[2:] == (None, None, 0)


def test_shuffles_are_a_function_of_seed_and_number(planted):
    genes, path = planted
    settings = ComplexSettings(path, level=0.9)
    table = compare_complexes(genes, HERE, settings)
    one, two = (
        share_apart(genes, table, HERE, settings, shuffles=3)["shuffled"][0] for _ in range(2)
    )
    unit = unit_rows(genes.features)
    shares = []
    for k in range(3):
        order = np.random.default_rng([0, k]).permutation(90)
        rows = [order[start : start + 12] for start in (0, 12, 40)]
        means = np.array([compare_complex(unit, some) for some in rows])
        apart = false_discovery_control(means[:, 3]) <= 0.9
        shares.append((apart & (means[:, 0] > means[:, 1])).mean())
    assert one == two == pytest.approx(np.mean(shares))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(5, 40), st.integers(2, 4), st.floats(0.1, 100))
def test_means_and_test_against_all_cosines(seed, count, size, scale):
    rng = np.random.default_rng(seed)
    features, rows = rng.normal(size=(count, 4)), np.sort(rng.permutation(count)[:size])
    cosines = cosine_similarity(features)
    inside = np.isin(np.arange(count), rows)
    within = cosines[np.ix_(inside, inside)][np.triu_indices(size, k=1)]
    between = cosines[np.ix_(inside, ~inside)].ravel()
    # The statistic is the largest difference of the two shares of cosines up to any one.
    every = np.concatenate([within, between])
    shares = [(every[:, None] >= some).mean(axis=1) for some in (within, between)]
    turn = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    found = compare_complex(unit_rows(scale * features @ turn), rows)
    wanted = [within.mean(), between.mean(), np.abs(shares[0] - shares[1]).max()]
    np.testing.assert_allclose(found[:3], wanted, atol=1e-9)
    assert found[3] == pytest.approx(ks_2samp(within, between).pvalue, rel=1e-6)


def test_a_complex_that_is_the_whole_map_has_nothing_between(tmp_path):
    path = tmp_path / "all.tsv"
    path.write_text("all\tG000 G001 G002\n")
    genes, settings = make_map(np.eye(3) + 1), ComplexSettings(path, min_genes=3)
    table = compare_complexes(genes, HERE, settings)
    assert table.row(0)[3:] == (None, None, None)
    np.testing.assert_allclose(table["within"][0], 5 / 6)
    assert share_apart(genes, table, HERE, settings)["apart"][0] == 0


def test_genes_count_once_and_only_where_they_are_on_the_map():
    found = rows_on_map({"a": ["C", "A", "C", "X"], "b": []}, ["A", "B", "C"])
    assert {name: rows.tolist() for name, rows in found.items()} == {"a": [0, 2], "b": []}


def test_both_forms_of_file(tmp_path):
    (tmp_path / "a.tsv").write_text("\ufeffone (x)\tA B  C\n\ntwo\tD\n")
    (tmp_path / "a.gmt").write_text("one (x)\thttp://a b\tA\tB\tC\t\ntwo\t\tD\n")
    wanted = {"one (x)": ["A", "B", "C"], "two": ["D"]}
    assert read_complexes(tmp_path / "a.tsv") == wanted
    assert read_complexes(tmp_path / "a.gmt") == wanted


def test_complexes_of_corum(shared: Path):
    path = shared / "data/annotations/CORUM_clusters.tsv"
    complexes = read_complexes(path)
    assert len(complexes) == len(path.read_text().splitlines())
    expected = np.load(shared / "fixtures/map/expected.npz", allow_pickle=True)
    genes = make_map(expected["tvn_aggregate"], expected["genes"].tolist())
    table = compare_complexes(genes, HERE, ComplexSettings(path))
    wanted = {
        name: sum(gene in genes.names for gene in members) for name, members in complexes.items()
    }
    assert dict(table.select("complex", "genes_on_map").rows()) == {
        name: count for name, count in wanted.items() if count >= 10
    }
    assert len(table) > 10
    cosines = cosine_similarity(genes.features.astype(np.float64))
    inside = np.isin(genes.names, complexes[table["complex"][0]])
    between = cosines[np.ix_(inside, ~inside)]
    assert table["between"][0] == pytest.approx(between.mean())


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        (
            "a.tsv",
            "one A B\n",
            r"a.tsv, line 1, is not a complex: 'one A B'; expected name, tab, gen",
        ),
        ("a.gmt", "one\tA\tB\ntwo\tA B\n", "line 2, is not a complex.*; expected name, tab, descr"),
        ("a.tsv", "one\tA\none\tB\n", "a.tsv, line 2: the complex 'one' is repeated"),
        ("a.tsv", "one\tA B\n", "none of its complexes has 10 genes on the map MAP.h5ad, which"),
        ("a.tsv", "", "a.tsv holds no complex: expected one per line"),
    ],
)
def test_complexes_that_will_not_do(tmp_path, name, text, sentence):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=sentence):
        compare_complexes(make_map(np.eye(3)), HERE, ComplexSettings(tmp_path / name))


def test_settings_and_files_that_will_not_do(tmp_path):
    with pytest.raises(ValueError, match="min_genes must be at least 2, not 1"):
        ComplexSettings(tmp_path, min_genes=1)
    with pytest.raises(ValueError, match=r"level must be between 0 and 1 .both excluded., not 5"):
        ComplexSettings(tmp_path, level=5)
    with pytest.raises(ValueError, match="there is no such file of complexes"):
        read_complexes(tmp_path / "absent.tsv")


def test_maps_that_will_not_do(planted):
    genes, path = planted
    broken = genes.features.copy()
    broken[[4, 7]] = [[0], [np.inf]]
    twice = ConsensusProfiles(["G001", *genes.names[1:]], genes.features, genes.obs, "")
    with pytest.raises(
        ValueError, match=r"MAP.h5ad has rows that .* have no cosine: G004, G007 .2 in total"
    ):
        compare_complexes(
            ConsensusProfiles(genes.names, broken, genes.obs, ""), HERE, ComplexSettings(path)
        )
    with pytest.raises(ValueError, match=r"MAP.h5ad has G001 more than once: expected one row"):
        compare_complexes(twice, HERE, ComplexSettings(path))
