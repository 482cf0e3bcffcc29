"""Formats with one file per site: DeepProfiler and JUMP-Lite."""

from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from pycytominer.cyto_utils.load import load_npz_features

from phenomae.profiles.import_profiles import ImportSettings, import_profiles
from phenomae.wells import read_wells


def write_site(path: Path, features: np.ndarray) -> None:
    """A file as DeepProfiler writes it: arrays features, metadata (a dict) and locations."""
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"Metadata_Plate": path.parent.name, "Metadata_Model": "efficientnet"}
    locations = np.zeros((len(features), 2))
    np.savez_compressed(path, features=features, metadata=metadata, locations=locations)


@pytest.mark.parametrize("name", ["{plate}/{well}_{site}.npz", "{plate}/{well}/{site}.npz"])
@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_deep_profiler(tmp_path, name, statistic):
    rng = np.random.default_rng(0)
    for plate in ("P1", "P2"):
        for well in ("A01", "B12"):
            for site, count in ((1, 3), (2, 0 if well == "A01" else 5)):
                path = tmp_path / "features" / name.format(plate=plate, well=well, site=site)
                write_site(path, rng.normal(size=(count, 4)).astype(np.float32))
    settings = ImportSettings(statistic=statistic)
    found = read_wells(import_profiles(tmp_path / "features", tmp_path / "wells", settings))
    assert found.names == ["DP_0", "DP_1", "DP_2", "DP_3"]
    assert found.table["plate"].to_list() == ["P1", "P1", "P2", "P2"]
    assert found.table["well"].to_list() == ["A01", "B12"] * 2
    assert found.table["sites"].to_list() == [2] * 4
    assert found.table["Metadata_cells"].to_list() == [3, 8] * 2
    for row, (plate, well) in enumerate(found.table.select("plate", "well").iter_rows()):
        sites = [
            tmp_path / "features" / name.format(plate=plate, well=well, site=site)
            for site in (1, 2)
        ]
        cells = pd.concat(load_npz_features(path, metadata=False) for path in sites)
        expected = cells.mean() if statistic == "mean" else cells.median()
        np.testing.assert_allclose(found.features[row], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "arrays", "sentence"),
    [
        ("A01.npz", {"features": np.ones((1, 2))}, "does not name plate, well and site: expected"),
        (
            "P1/A01_1.npz",
            {"x": np.ones((1, 2))},
            "not a file of DeepProfiler: expected an array",
        ),
        ("P1/A01_1.npz", {"features": np.array([{}])}, "is not a file of DeepProfiler"),
        ("P1/A01_1.npz", {"features": np.ones(3)}, r"features has shape \(3,\), not cells x feat"),
    ],
)
def test_files_that_are_not_of_deep_profiler(tmp_path, name, arrays, sentence):
    path = tmp_path / "deep" / name
    path.parent.mkdir(parents=True)
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match=sentence):
        import_profiles(path, tmp_path / "wells")


def test_files_of_two_networks_are_refused(tmp_path):
    write_site(tmp_path / "P1/A01_1.npz", np.ones((2, 3)))
    write_site(tmp_path / "P1/A01_2.npz", np.ones((2, 4)))
    with pytest.raises(ValueError, match=r"A01_2.npz has 4 features and .*A01_1.npz has 3"):
        import_profiles(tmp_path / "P1", tmp_path / "wells")


def write_long(path: Path, values: np.ndarray) -> None:
    """A long table as JUMP-Lite has it: a row per crop and feature."""
    crops, width = values.shape
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(
        {
            "tile": np.repeat(np.arange(crops), width),
            "label": np.zeros(crops * width, dtype=np.int64),
            "branch": "nahual",
            "metric": [f"X_{index}" for index in range(width)] * crops,
            "value": values.ravel().astype(np.float32),
            "object": "random",
            "tp": np.zeros(crops * width, dtype=np.uint8),
        }
    ).write_parquet(path)


@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_long_tables_of_jump_lite(tmp_path, statistic):
    rng = np.random.default_rng(1)
    root = tmp_path / "embeddings/dinov2_random-zstd/2026_jump_lite_v1.0/source_7/b_1/0042"
    sites = [rng.normal(size=(crops, 12)) for crops in (4, 6)]
    for site, values in enumerate(sites):
        write_long(root / f"A01-{site}/embedding.parquet", values)
    settings = ImportSettings(statistic=statistic)
    found = read_wells(import_profiles(tmp_path / "embeddings", tmp_path / "wells", settings))
    assert found.names == [f"X_{index}" for index in range(12)]  # and not X_0, X_1, X_10, ...
    crops = np.concatenate(sites)
    expected = crops.mean(axis=0) if statistic == "mean" else np.median(crops, axis=0)
    np.testing.assert_allclose(found.features[0], expected, rtol=1e-5)
    row = found.table.row(0, named=True)
    assert (row["plate"], row["well"], row["sites"]) == ("0042", "A01", 2)
    assert row["Metadata_Source"] == "source_7"
    assert row["batch"] == "b_1"
    assert row["Metadata_Model"] == "dinov2_random-zstd"


def test_the_sample_of_jump_lite(shared, tmp_path):
    folder = shared / "data/jump_lite_sample/prof"
    found = read_wells(import_profiles(folder, tmp_path / "wells"))
    long = pl.concat(pl.read_parquet(path) for path in sorted(folder.glob("*.parquet")))
    for index, name in enumerate(found.names or []):
        expected = long.filter(pl.col("metric") == name)["value"].cast(pl.Float64).mean()
        assert found.features[0, index] == pytest.approx(expected, rel=1e-5)
    assert found.table.select("plate", "well", "sites").rows() == [("P", "A01", 2)]


def test_long_tables_that_cannot_be_read(tmp_path):
    write_long(tmp_path / "embedding.parquet", np.ones((2, 3)))
    with pytest.raises(ValueError, match="does not name plate, well and site: expected SOURCE/BAT"):
        import_profiles(tmp_path / "embedding.parquet", tmp_path / "wells")
    path = tmp_path / "long/source_4__b__P__A01__1.parquet"
    write_long(path, np.ones((2, 3)))
    with pytest.raises(ValueError, match="features chooses columns, but JUMP-Lite's long tables"):
        import_profiles(path, tmp_path / "wells", ImportSettings(features="X_"))
    pl.read_parquet(path)[:-1].write_parquet(path)
    with pytest.raises(ValueError, match=r"its metrics are not X_0, X_1, .* once per tile"):
        import_profiles(path, tmp_path / "wells")
