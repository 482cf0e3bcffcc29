"""Layouts of maps: umap-learn and scikit-learn compute the same, anndata and scanpy read them."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.manifold import trustworthiness
from sklearn.neighbors import NearestNeighbors

from phenomae import MapSettings, check, cli, export, map_wells, read_map, to_anndata, write_wells
from phenomae.maps import cosine_blocks
from phenomae.maps.layout import LayoutSettings, _write, layout
from phenomae.maps.trustworthiness import expected_by_chance, measure_trustworthiness
from phenomae.maps.unit_vectors import unit_rows
from phenomae.records import feature_names
from phenomae.signatures import Origin

SMALL = LayoutSettings(n_neighbors=8, min_dist=0.2, seed=3)


def make_map(path: Path, values: np.ndarray) -> Path:
    """Write a map of the rows `values` by way of wells."""
    count, width = values.shape
    table = pl.DataFrame(
        {
            "plate": ["P1"] * count,
            "well": [f"{chr(65 + row // 24)}{row % 24 + 1:02d}" for row in range(count)],
            "gene": [f"G{row:03d}" for row in range(count)],
            "control": [False] * count,
        }
    )
    features = pl.from_numpy(values.astype(np.float32), feature_names(width), orient="row")
    table = pl.concat([table, features], how="horizontal")
    wells = path.parent / f"{path.stem}-wells"
    write_wells(wells, table, feature_names(width))
    map_wells(wells, path, settings=MapSettings(through="wells"))
    return path


@pytest.fixture(scope="module")
def values() -> np.ndarray:
    """Ten groups of nine rows that are alike."""
    rng = np.random.default_rng(4)
    return np.repeat(rng.normal(size=(10, 6)), 9, axis=0) + 0.3 * rng.normal(size=(90, 6))


@pytest.fixture(scope="module")
def bare(tmp_path_factory, values) -> bytes:
    """The file of a map without a layout."""
    return make_map(tmp_path_factory.mktemp("bare") / "map.h5ad", values).read_bytes()


@pytest.fixture(scope="module")
def laid_out(tmp_path_factory, bare) -> bytes:
    """The file of the same map with a layout."""
    path = tmp_path_factory.mktemp("laid_out") / "map.h5ad"
    path.write_bytes(bare)
    layout(path, settings=SMALL)
    return path.read_bytes()


@pytest.fixture
def genes(tmp_path, laid_out) -> Path:
    """A map with a layout."""
    (tmp_path / "map.h5ad").write_bytes(laid_out)
    return tmp_path / "map.h5ad"


@pytest.fixture
def plain(tmp_path, bare) -> Path:
    """The same map without a layout."""
    (tmp_path / "plain.h5ad").write_bytes(bare)
    return tmp_path / "plain.h5ad"


@pytest.mark.parametrize(("rows", "k"), [(4, 1), (61, 5), (61, 30), (300, 15)])
@pytest.mark.parametrize("numbers", [cosine_blocks._NUMBERS, 700])
def test_trustworthiness_is_that_of_scikit_learn(rows, k, numbers, monkeypatch):
    monkeypatch.setattr(cosine_blocks, "_NUMBERS", numbers)
    rng = np.random.default_rng(rows + k)
    profiles = rng.normal(size=(rows, 6))
    unit = unit_rows(profiles)
    for points in (unit[:, :2], rng.normal(size=(rows, 2))):
        expected = trustworthiness(profiles, points, n_neighbors=k, metric="cosine")
        assert measure_trustworthiness(unit, points, k) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("k", [1, 2])
def test_chance_is_the_mean_over_all_assignments_of_points_to_rows(k):
    rng = np.random.default_rng(0)
    profiles, points = rng.normal(size=(6, 3)), rng.normal(size=(6, 2))
    every = [
        trustworthiness(profiles, points[list(order)], n_neighbors=k, metric="cosine")
        for order in itertools.permutations(range(6))
    ]
    assert expected_by_chance(6, k) == pytest.approx(np.mean(every), abs=1e-12)


def test_points_are_those_of_umap_with_exact_neighbors(genes, values):
    umap = pytest.importorskip("umap")
    unit = unit_rows(values.astype(np.float32))
    distances, rows = NearestNeighbors(n_neighbors=8, metric="cosine").fit(unit).kneighbors(unit)
    judge = umap.UMAP(
        n_neighbors=8,
        min_dist=0.2,
        metric="cosine",
        random_state=3,
        n_jobs=1,
        precomputed_knn=(rows, distances),
    )
    expected = judge.fit_transform(unit.astype(np.float32))
    np.testing.assert_allclose(read_map(genes).layout, expected, atol=1e-4)


def test_scanpy_finds_the_points_and_the_rest_of_the_map_is_as_before(genes, plain):
    import scanpy

    found, before = scanpy.read_h5ad(genes), anndata.read_h5ad(plain)
    assert [*found.obsm] == ["X_umap"]
    assert found.obsm["X_umap"].dtype == np.float32
    np.testing.assert_array_equal(found.obsm["X_umap"], read_map(genes).layout)
    np.testing.assert_array_equal(found.X, before.X)
    pd.testing.assert_frame_equal(found.obs, before.obs)
    assert found.uns["phenomae"] == before.uns["phenomae"]
    scanpy.pl.umap(found, color="wells", show=False)


def test_the_identity_of_the_map_stays(genes, plain):
    found, before = read_map(genes), read_map(plain)
    assert (found.identity, before.layout) == (before.identity, None)
    assert found.layout is not None
    assert check(genes)["state"][0] == "complete"


def test_what_is_printed_is_what_scikit_learn_measures(genes, values, capsys):
    layout(genes, settings=SMALL)
    said = capsys.readouterr().err
    assert "the layout of" in said
    assert "already there, made with the same settings" in said
    points = read_map(genes).layout
    expected = trustworthiness(values.astype(np.float32), points, n_neighbors=8, metric="cosine")
    # 90 rows and 8 neighbors: 1 - 81 * 82 / (89 * 155) for points that mean nothing.
    assert f"layout of 90 rows, trustworthiness {expected:.3f} (k = 8)" in said
    assert f"{1 - 81 * 82 / (89 * 155):.3f} for points that have nothing to do with" in said
    assert expected > 0.9


def test_another_layout_needs_overwrite_and_leaves_no_trace(genes, laid_out):
    other = LayoutSettings(n_neighbors=8, min_dist=0.2, seed=4)
    with pytest.raises(ValueError, match=r"another setting: seed = 3, now 4; overwrite replaces"):
        layout(genes, settings=other)
    assert genes.read_bytes() == laid_out
    layout(genes, settings=other, overwrite=True)
    assert genes.read_bytes() != laid_out
    layout(genes, settings=SMALL, overwrite=True)
    assert genes.read_bytes() == laid_out


@pytest.mark.slow
def test_the_bytes_are_the_same_in_another_process_with_other_threads(plain, laid_out):
    threads = {"OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2", "NUMBA_NUM_THREADS": "1"}
    flags = ["--n-neighbors", "8", "--min-dist", "0.2", "--seed", "3"]
    words = [sys.executable, "-m", "phenomae", "layout", str(plain), *flags]
    subprocess.run(words, env=os.environ | threads, check=True)
    assert plain.read_bytes() == laid_out


def test_map_finds_its_map_there_and_overwrite_makes_it_without_a_layout(genes, values):
    made = genes.parent / "fresh.h5ad"
    make_map(made, values)
    identity = read_map(made).identity
    layout(made, settings=SMALL)
    wells = made.parent / "fresh-wells"
    map_wells(wells, made, settings=MapSettings(through="wells"))
    assert read_map(made).layout is not None
    map_wells(wells, made, settings=MapSettings(through="wells"), overwrite=True)
    assert (read_map(made).layout, read_map(made).identity) == (None, identity)


def test_what_other_software_has_added_is_kept(plain):
    axes = np.arange(180, dtype=np.float64).reshape(90, 2)
    with h5py.File(plain, "r+") as file:
        item = file["obsm"].create_dataset("X_pca", data=axes)
        item.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
        file.attrs["note"] = "mine"
    layout(plain, settings=SMALL)
    np.testing.assert_array_equal(anndata.read_h5ad(plain).obsm["X_pca"], axes)
    with h5py.File(plain) as file:
        assert file.attrs["note"] == "mine"


def test_a_link_to_a_map_stays_a_link(genes, plain):
    link = genes.parent / "link.h5ad"
    link.symlink_to(plain)
    layout(link, settings=SMALL)
    assert link.is_symlink()
    assert read_map(plain).layout is not None


def test_a_flipped_bit_of_the_points_is_found(genes):
    content = bytearray(genes.read_bytes())
    points = read_map(genes).layout
    assert points is not None
    content[content.index(points.tobytes()) + 100] ^= 1
    genes.write_bytes(content)
    with pytest.raises(ValueError, match=r"map\.h5ad is damaged: its bytes have changed"):
        read_map(genes)
    with pytest.raises(ValueError, match="damaged"):
        check(genes)


def edit(path: Path, change: str) -> None:
    """Change a file as other software could, which removes the checksum at its end."""
    with h5py.File(path, "r+") as file:
        if change == "points":
            file["obsm/X_umap"][3, 1] += 1e-3
        elif change == "nan":
            file["obsm/X_umap"][3, 1] = np.nan
        elif change == "removed":
            del file["obsm/X_umap"]
        elif change == "unrecorded":
            del file["uns/phenomae_layout"]
        else:
            text = file["uns/phenomae_layout"].asstr()[()]
            file["uns/phenomae_layout"][()] = text.replace('"seed": 3', '"seed": 5')


@pytest.mark.parametrize("change", ["points", "nan", "removed"])
def test_points_that_were_changed_are_found(genes, change):
    edit(genes, change)
    with pytest.raises(ValueError, match=r"its layout \(obsm\['X_umap'\]\) is damaged or was edit"):
        read_map(genes)
    with pytest.raises(ValueError, match=r"make it again with phenomae layout, and overwrite"):
        check(genes)
    with pytest.raises(ValueError, match="its layout"):
        layout(genes, settings=SMALL)


def test_a_layout_that_was_changed_is_made_again_with_overwrite(genes, laid_out):
    edit(genes, "points")
    layout(genes, settings=SMALL, overwrite=True)
    assert genes.read_bytes() == laid_out


def test_a_record_that_was_changed_is_found(genes):
    edit(genes, "record")
    with pytest.raises(ValueError, match="recorded of its origin and files has changed"):
        read_map(genes)


def test_a_record_of_another_map_is_found(genes, tmp_path, values):
    other = make_map(tmp_path / "other.h5ad", -values[:, ::-1])
    with h5py.File(genes) as file, h5py.File(other, "r+") as target:
        for name in ("obsm/X_umap", "uns/phenomae_layout"):
            file.copy(name, target, name)
    with pytest.raises(ValueError, match=r"its layout .* is of another map; make it again"):
        read_map(other)


def test_points_of_other_software_in_a_map_need_overwrite(genes):
    edit(genes, "unrecorded")
    assert read_map(genes).layout is not None
    with pytest.raises(ValueError, match=r"has a layout .* that other software computed: overwrit"):
        layout(genes, settings=SMALL)


@pytest.mark.parametrize("columns", [True, False])  # without columns it is read by anndata
def test_the_points_of_other_software_are_read(tmp_path, columns):
    rng = np.random.default_rng(0)
    names = [f"G{row}" for row in range(12)]
    obs = pd.DataFrame({"wells": range(12)} if columns else {}, index=names)
    table = anndata.AnnData(rng.normal(size=(12, 4)), obs=obs)
    points = rng.normal(size=(12, 2))
    other = {
        "narrow": rng.normal(size=(12, 3)),
        "missing": np.where(points > 0, points, np.nan),
        "frame": pd.DataFrame(points, index=names, columns=["x", "y"]),
    }
    for name, stored in {"array": points, **other}.items():
        table.obsm["X_umap"] = stored
        table.uns["umap"] = {"params": {"a": 1.0}}
        table.write_h5ad(tmp_path / f"{name}.h5ad")
    for name in ("array", "frame"):
        found = read_map(tmp_path / f"{name}.h5ad").layout
        np.testing.assert_array_equal(found, points.astype(np.float32))
        assert found.dtype == np.float32
    assert read_map(tmp_path / "narrow.h5ad").layout is None
    assert read_map(tmp_path / "missing.h5ad").layout is None
    before = (tmp_path / "array.h5ad").read_bytes()
    with pytest.raises(ValueError, match=r"was not made by phenomae map, and is not changed: in s"):
        layout(tmp_path / "array.h5ad", overwrite=True)
    assert (tmp_path / "array.h5ad").read_bytes() == before


def test_a_map_that_is_no_longer_ours_has_the_points_of_its_file(genes):
    with h5py.File(genes, "r+") as file:
        del file["uns/phenomae"]
        file["obsm/X_umap"][0] = [7, 8]
    assert read_map(genes).layout[0].tolist() == [7, 8]


def test_exports_keep_the_points(genes, tmp_path):
    points = read_map(genes).layout
    export(genes, tmp_path / "out.h5ad")
    found = anndata.read_h5ad(tmp_path / "out.h5ad")
    np.testing.assert_array_equal(found.obsm["X_umap"], points)
    assert list(found.uns) == []
    np.testing.assert_array_equal(to_anndata(genes).obsm["X_umap"], points)
    np.testing.assert_array_equal(read_map(tmp_path / "out.h5ad").layout, points)
    assert check(tmp_path / "out.h5ad")["state"][0] == "complete"


def test_small_maps(tmp_path, capsys):
    rng = np.random.default_rng(1)
    four = make_map(tmp_path / "four.h5ad", rng.normal(size=(4, 5)))
    layout(four)
    assert f"n_neighbors is 3, because {four} has only 4 rows" in capsys.readouterr().err
    assert np.isfinite(read_map(four).layout).all()
    three = make_map(tmp_path / "three.h5ad", rng.normal(size=(3, 5)))
    with pytest.raises(ValueError, match=r"three\.h5ad has 3 rows: a layout needs 4 or more"):
        layout(three)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda values: np.outer(np.arange(1, 9), [1.0, 2.0]), "the rows of .* are all alike: a"),
        (lambda values: values[:8] * (np.arange(8) != 5)[:, None], "have no cosine: G005"),
        (
            lambda values: np.array([[1.0]] * 7 + [[-1.0]]),
            "opposite to their nearest rows, to which UMAP gives no points: G007 .1 in total",
        ),
    ],
)
def test_rows_that_have_no_layout(tmp_path, values, change, sentence):
    path = make_map(tmp_path / "map.h5ad", change(values))
    before = path.read_bytes()
    with pytest.raises(ValueError, match=sentence):
        layout(path, settings=LayoutSettings(n_neighbors=4))
    assert path.read_bytes() == before


def test_a_map_that_was_replaced_meanwhile_is_not_written(plain, bare):
    stale = Origin("layout", {}, {"map": "another"})
    with pytest.raises(ValueError, match="was replaced while its layout was computed: run this ag"):
        _write(plain, stale, np.zeros((90, 2), dtype=np.float32), {})
    assert plain.read_bytes() == bare


def test_without_umap_learn_it_is_said_what_to_install(plain, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "umap", None)  # as if it were not installed
    assert cli.run(["layout", str(plain)]) == 1
    sentence = "a layout needs the package umap-learn: pip install 'phenomae[explore]'"
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("n_neighbors", 1, "n_neighbors must be at least 2, not 1"),
        ("n_neighbors", 2.5, "n_neighbors must be a whole number, not 2.5"),
        ("min_dist", 1.5, "min_dist must be from 0 to 1, not 1.5"),
        ("seed", -1, "seed must be from 0 to 4294967295, not -1"),
    ],
)
def test_settings_out_of_range(name, value, sentence):
    with pytest.raises(ValueError, match=sentence):
        LayoutSettings(**{name: value})
