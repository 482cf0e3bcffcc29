"""Tables for Embedding Atlas: neighbors by brute force in numpy, points by scikit-learn."""

import importlib.util
import io
import json
import sys
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import polars as pl
import pytest
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness

from phenomae import cli
from phenomae.images.platemap.settings import PlateMapSettings
from phenomae.maps.atlas import AtlasSettings, find_neighbors
from phenomae.maps.export import ExportSettings, export
from phenomae.maps.map import MapSettings, map_wells
from phenomae.maps.read import read_map
from phenomae.wells import read_wells, write_wells

ATLAS = ExportSettings("embedding-atlas")
PCA_ONLY = AtlasSettings(projection="pca", neighbors=3)


def made(source: Path, settings: AtlasSettings = PCA_ONLY, name: str = "out") -> pl.DataFrame:
    out = source.parent / f"{name}.parquet"
    return export(source, out, settings=ATLAS, atlas=settings).to_polars()


def unit(features: np.ndarray) -> np.ndarray:
    rows = features.astype(np.float64)
    return rows / np.sqrt((rows**2).sum(axis=1, keepdims=True))


def nearest(features: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return ids and cosine distances of the nearest other rows, from all pairs."""
    distances = 1 - unit(features) @ unit(features).T
    np.fill_diagonal(distances, np.inf)
    ids = np.argsort(distances, axis=1)[:, :count]
    return ids, np.take_along_axis(distances, ids, axis=1)


def test_the_columns_are_what_embedding_atlas_reads(make_screen, tmp_path, capsys):
    wells = make_screen()
    out = tmp_path / "out.parquet"
    words = ["export", str(wells), str(out), "--for", "embedding-atlas", "--neighbors", "4"]
    assert cli.run(words) == 0
    told = f"open it with: embedding-atlas {out} --x tsne_x --y tsne_y --neighbors neighbors\n"
    assert capsys.readouterr().err.endswith(told)
    table, screen = pl.read_parquet(out), read_wells(wells)
    assert table.columns == [*screen.table.columns, "tsne_x", "tsne_y", "neighbors"]
    assert table.select(screen.table.columns).equals(screen.table)
    assert table["neighbors"].dtype == pl.Struct(
        {"ids": pl.List(pl.Int64), "distances": pl.List(pl.Float64)}
    )
    ids, distances = nearest(screen.features, 4)
    fields = table["neighbors"].struct
    np.testing.assert_array_equal(fields.field("ids").to_list(), ids)
    np.testing.assert_allclose(fields.field("distances").to_list(), distances, atol=1e-12)
    points = table.select("tsne_x", "tsne_y").to_numpy()
    # Random points have .5; neighbors in the plane are neighbors by cosine.
    assert trustworthiness(screen.features, points, metric="cosine") > 0.8


def test_principal_axes_are_those_of_the_unit_vectors(make_screen):
    wells = make_screen()
    points = made(wells).select("pca_x", "pca_y").to_numpy()
    vectors = unit(read_wells(wells).features)
    expected = PCA(2, svd_solver="full").fit(vectors)
    np.testing.assert_allclose(points.var(axis=0, ddof=1), expected.explained_variance_)
    np.testing.assert_allclose(abs(points), abs(expected.transform(vectors)), atol=1e-9)


def test_the_same_settings_give_the_same_bytes(make_screen, tmp_path, capsys):
    wells, settings = make_screen(), AtlasSettings(neighbors=3)
    made(wells, settings)
    made(wells, settings)
    assert "already there, with the same content" in capsys.readouterr().err
    with pytest.raises(ValueError, match="holds another export: choose another name, or overwr"):
        made(wells, PCA_ONLY)


@pytest.mark.slow
def test_umap_is_that_of_umap_learn(make_screen):
    umap = pytest.importorskip("umap", reason="needs umap-learn")
    wells = make_screen()
    table = made(wells, AtlasSettings("umap", neighbors=6, seed=3))
    model = umap.UMAP(n_neighbors=6, metric="cosine", random_state=3, n_jobs=1)
    expected = model.fit_transform(read_wells(wells).features)
    np.testing.assert_allclose(table.select("umap_x", "umap_y").to_numpy(), expected, atol=1e-5)


def test_without_umap_the_sentence_says_what_to_do(make_screen, monkeypatch):
    wells = make_screen()
    if importlib.util.find_spec("umap"):
        monkeypatch.setitem(sys.modules, "umap", None)  # as if it were not installed
    with pytest.raises(ValueError, match="projection umap needs the package umap-learn: install"):
        made(wells, AtlasSettings("umap"))


def test_a_map_has_its_names_and_its_own_rows_as_neighbors(make_screen, tmp_path):
    path = tmp_path / "map.h5ad"
    map_wells(make_screen(), path, settings=MapSettings(through="wells"))
    table, genes = made(path, AtlasSettings("pca", neighbors=50)), read_map(path)
    assert table["gene"].to_list() == genes.names
    ids, _ = nearest(genes.features, len(genes.names) - 1)
    np.testing.assert_array_equal(table["neighbors"].struct.field("ids").to_list(), ids)


def test_neighbors_of_random_profiles_are_exact():
    features = np.random.default_rng(0).normal(size=(300, 20)).astype(np.float32)
    found, (ids, _) = find_neighbors(features, 15), nearest(features, 15)
    np.testing.assert_array_equal(found.struct.field("ids").to_list(), ids)


def test_neighbors_that_are_equally_near_are_in_the_order_of_the_rows():
    """Equal but for rounding: the rows of each group point into one direction."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(5, 8))[np.arange(60) % 5] * rng.uniform(1, 2, size=(60, 1))
    found = find_neighbors(features, 6)
    expected = [[other for other in range(row % 5, 60, 5) if other != row] for row in range(60)]
    assert found.struct.field("ids").to_list() == [ids[:6] for ids in expected]
    np.testing.assert_allclose(found.struct.field("distances").to_list(), 0, atol=1e-12)


@pytest.fixture
def pictured(tmp_path, make_store) -> tuple[Path, Path]:
    """Wells, and a store of all but one of them: red light in A01, green in A02, both in A03."""
    levels = {"A01": (4000, 100), "A02": (100, 4000), "A03": (4000, 4000)}
    pixels = {
        ("P1", well, 1): np.stack([np.full((40, 60), value, np.uint16) for value in pair])
        for well, pair in levels.items()
    }
    store = make_store(tmp_path / "store", pixels, ["Mito", "ER"])
    names = [*levels, "B01"]
    table = pl.DataFrame(
        {
            "plate": "P1",
            "well": names,
            "gene": [f"gene {well}" for well in names],
            "control": [False] * 4,
            "x": [1.0, 2.0, -1.0, 0.5],
            "y": [2.0, 1.0, 0.5, -1.0],
        }
    )
    write_wells(tmp_path / "wells", table, ["x", "y"])
    return tmp_path / "wells", store


COLORS = [(255, 0, 0), (0, 255, 0), (255, 255, 0)]


def pictures(table: pl.DataFrame) -> list[tuple[tuple[int, int], tuple[int, ...]] | None]:
    """Return size and colour of each picture."""
    found = []
    for cell in table["image"]:
        image = None if cell is None else Image.open(io.BytesIO(cell["bytes"]))
        found.append(None if image is None else (image.size, image.getpixel((5, 5))))
    return found


def test_pictures_are_the_fields_in_the_colours_of_their_channels(pictured, capsys):
    wells, store = pictured
    table = made(wells, AtlasSettings("pca", neighbors=2, store=store, thumbnail=30))
    assert pictures(table) == [*(((30, 20), color) for color in COLORS), None]
    said = capsys.readouterr().err
    assert f"rows without a picture in {store}: 1 of 4 rows" in said
    assert said.endswith("--neighbors neighbors --image image\n")
    record = json.loads((wells.parent / "out.parquet.artefact.json").read_text())
    identity = json.loads((store / "artefact.json").read_text())["identity"]
    assert record["sources"] == {"source": read_wells(wells).identity, "store": identity}
    assert record["settings"] == {
        "form": "embedding-atlas",
        "projection": "pca",
        "neighbors": 2,
        "seed": 0,
        "thumbnail": 30,
    }


def test_pictures_of_a_map_are_those_of_the_first_well_of_each_row(pictured, tmp_path):
    wells, store = pictured
    map_wells(wells, tmp_path / "map.h5ad", settings=MapSettings(through="wells"))
    table = made(tmp_path / "map.h5ad", AtlasSettings("pca", store=store, thumbnail=30))
    # The store's wells of column 1 are controls, which the name of the gene finds all the same.
    assert pictures(table) == [*(((30, 20), color) for color in COLORS), None]


def test_pictures_of_a_map_are_of_wells_that_are_in_it(tmp_path, make_store):
    """A01 and A02 are red on plate P1, which the map leaves out, and green on plate P2."""
    light = {"P1": (4000, 100), "P2": (100, 4000)}
    keys = [(plate, well) for plate in light for well in ("A01", "A02", "A03")]
    pixels = {
        (plate, well, 1): np.stack([np.full((20, 20), value, np.uint16) for value in light[plate]])
        for plate, well in keys
    }
    store = make_store(tmp_path / "store", pixels, ["Mito", "ER"])
    table = pl.DataFrame(keys, schema=["plate", "well"], orient="row").with_columns(
        gene=pl.lit("gene ") + pl.col("well"),
        control=False,
        x=pl.Series([1.0, 2, 3, 4, 5, 6]),
        y=pl.Series([1.0, -2, 3, -4, 5, -6]),
    )
    wells = write_wells(tmp_path / "wells", table, ["x", "y"]).path
    settings = MapSettings(through="wells", where="plate != 'P1'")
    map_wells(wells, tmp_path / "map.h5ad", settings=settings)
    atlas = AtlasSettings("pca", neighbors=2, store=store, thumbnail=30)
    assert pictures(made(tmp_path / "map.h5ad", atlas)) == [((30, 30), (0, 255, 0))] * 3


def test_pictures_of_a_map_with_other_labels_than_the_store_are_refused(pictured, tmp_path):
    wells, store = pictured
    labels = read_wells(wells).table.select("plate", "well", "gene", "control")
    swapped = labels.with_columns(pl.col("gene").reverse())
    swapped.write_csv(tmp_path / "plate_map.csv")
    map_wells(
        wells,
        tmp_path / "map.h5ad",
        settings=MapSettings(through="wells"),
        labels=PlateMapSettings(plate_map=tmp_path / "plate_map.csv"),
    )
    with pytest.raises(ValueError, match=r"map.h5ad has the labels of a plate map that .* has not"):
        made(tmp_path / "map.h5ad", AtlasSettings("pca", store=store, thumbnail=30))


def test_pictures_of_what_the_store_does_not_have_are_refused(pictured, make_screen, tmp_path):
    wells, store = pictured
    settings = AtlasSettings("pca", store=store)
    other = make_screen("other", plate=pl.lit("X") + pl.col("plate"))
    with pytest.raises(ValueError, match=r"has no field of .*other: is it another screen\?"):
        made(other, settings)
    features = np.random.default_rng(0).normal(size=(4, 3))
    anndata.AnnData(features).write_h5ad(tmp_path / "foreign.h5ad")
    with pytest.raises(ValueError, match="does not record what its rows are, so the store's wel"):
        made(tmp_path / "foreign.h5ad", settings)
    with pytest.raises(ValueError, match="absent holds no store"):
        made(wells, AtlasSettings("pca", store=tmp_path / "absent"))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"projection": "mds"}, "projection must be one of tsne, pca, umap, not mds"),
        ({"neighbors": 0}, "neighbors must be at least 1, not 0"),
        ({"seed": -1}, "seed must be at least 0, not -1"),
        ({"seed": 0.5}, "seed must be a whole number, not 0.5"),
        ({"thumbnail": 8}, "thumbnail must be from 16 to 1024, not 8"),
    ],
)
def test_settings_that_will_not_do(values, sentence):
    with pytest.raises(ValueError, match=sentence):
        AtlasSettings(**values)


def test_settings_of_the_atlas_are_refused_for_other_forms(make_screen, tmp_path):
    with pytest.raises(ValueError, match="neighbors is a setting of the form embedding-atlas"):
        export(make_screen(), tmp_path / "out.csv", atlas=AtlasSettings(neighbors=3))


def test_profiles_that_have_no_place_are_refused(make_screen, tmp_path):
    wells = make_screen(
        "zero",
        **{
            f"feature_{n:04d}": pl.when(pl.col("well") != "A01")
            .then(f"feature_{n:04d}")
            .otherwise(0.0)
            for n in range(5)
        },
    )
    with pytest.raises(ValueError, match=r"NaN, infinite or all 0 and have no cosine: P1/A01"):
        made(wells)
    table = pl.DataFrame({"plate": "P", "well": ["A1", "A2"], "control": False, "x": [1.0, 2.0]})
    write_wells(tmp_path / "two", table, ["x"])
    with pytest.raises(ValueError, match="has 2 rows: points in a plane need 3 or more"):
        made(tmp_path / "two")


def test_a_column_of_a_needed_name_is_refused(tmp_path):
    obs = pd.DataFrame({"neighbors": [1, 2, 3]}, index=["a", "b", "c"])
    anndata.AnnData(np.eye(3), obs=obs).write_h5ad(tmp_path / "map.h5ad")
    with pytest.raises(ValueError, match="has a column 'neighbors', which is needed: rename it"):
        made(tmp_path / "map.h5ad")
