"""Wells and maps as AnnData; anndata is the judge of what a file holds."""

import shutil
import subprocess
import sys
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import polars as pl
import pytest
from pandas.testing import assert_frame_equal

from phenomae import cli
from phenomae.maps.annotated import to_anndata
from phenomae.maps.encode import encode_h5ad, obs_columns
from phenomae.maps.export import ExportSettings, Table, export
from phenomae.maps.map import MapSettings, map_wells
from phenomae.maps.read import read_map
from phenomae.wells import write_feature_names

# What anndata 0.10.9 registers readers for, of the versions that are written here.
KNOWN_TO_0_10 = {
    ("anndata", "0.1.0"),
    ("array", "0.2.0"),
    ("categorical", "0.2.0"),
    ("dataframe", "0.2.0"),
    ("dict", "0.1.0"),
    ("nullable-boolean", "0.1.0"),
    ("nullable-integer", "0.1.0"),
    ("string", "0.2.0"),
    ("string-array", "0.2.0"),
}


def encodings(path: Path) -> set[tuple[str, str]]:
    """Return every encoding in an .h5ad file; a part without one is an error."""
    found = set()

    def note(_: str, item: h5py.Group | h5py.Dataset) -> None:
        found.add((item.attrs["encoding-type"], item.attrs["encoding-version"]))

    with h5py.File(path) as file:
        note("", file)
        file.visititems(note)
    return found


@pytest.fixture
def wells(make_screen) -> Path:
    """Wells with empty cells of text and of numbers, in whole columns and in some wells."""
    half = pl.col("well") < "A05"
    return make_screen(
        gene=pl.when(half).then("gene"), concentration_um=pl.when(half).then(pl.lit(1.5))
    )


@pytest.fixture
def maps(wells, tmp_path) -> Path:
    path = tmp_path / "map.h5ad"
    map_wells(wells, path, settings=MapSettings(through="wells"))
    return path


def test_wells_as_anndata_and_as_a_file_are_the_same(wells, tmp_path):
    assert cli.run(["export", str(wells), str(tmp_path / "out.h5ad")]) == 0
    found, expected = anndata.read_h5ad(tmp_path / "out.h5ad"), to_anndata(wells)
    np.testing.assert_array_equal(found.X, expected.X)
    assert found.obs_names[0] == "P1/A01"
    assert list(found.var_names) == [f"feature_{index:04d}" for index in range(5)]
    table = pd.concat([pd.read_parquet(path) for path in sorted(wells.glob("*.parquet"))])
    for name in ("plate", "well", "gene", "guide", "concentration_um", "control", "sites"):
        for column in (found.obs[name], expected.obs[name]):
            values = column.astype(object).where(column.notna(), None).tolist()
            theirs = table[name].astype(object).where(table[name].notna(), None).tolist()
            assert values == theirs, name


def test_features_have_the_names_that_the_wells_record(wells, resign):
    names = [f"Cells_{index}" for index in range(5)]
    write_feature_names(wells, names)
    resign(wells)
    assert list(to_anndata(wells).var_names) == names
    export(wells, wells.parent / "out.h5ad")
    assert list(anndata.read_h5ad(wells.parent / "out.h5ad").var_names) == names


def test_a_map_as_anndata_and_as_a_file(maps, tmp_path):
    export(maps, tmp_path / "out.h5ad")
    found, expected = anndata.read_h5ad(tmp_path / "out.h5ad"), to_anndata(maps)
    np.testing.assert_array_equal(found.X, expected.X)
    assert_frame_equal(found.obs, expected.obs)
    # The record of the map is of the file of the map.
    assert (list(found.uns), list(expected.uns)) == ([], ["phenomae"])


def test_only_encodings_that_old_versions_know_are_written(wells, maps, tmp_path):
    export(wells, tmp_path / "out.h5ad")
    for path in (maps, tmp_path / "out.h5ad"):
        assert encodings(path) <= KNOWN_TO_0_10
        with h5py.File(path) as file:
            assert "raw" not in file


def test_every_type_of_column_comes_back(tmp_path):
    table = pl.DataFrame(
        {
            "text": ["b", None, "a"],
            "empty": pl.Series([None] * 3, dtype=pl.String),
            "kind": pl.Series(["x", "y", None], dtype=pl.Categorical),
            "whole": [1, None, 3],
            "known": [True, None, False],
            "number": [1.5, None, 2.0],
        }
    )
    features = np.eye(3, dtype=np.float32)
    path = tmp_path / "map.h5ad"
    path.write_bytes(
        encode_h5ad(features, obs_columns(table), ["a", "b", "c"], ["x", "y", "z"], {})
    )
    found = anndata.read_h5ad(path).obs
    for name in table.columns:
        expected = table[name].to_list()
        values = found[name].astype(object)
        assert values.where(values.notna(), None).tolist() == expected, name
    assert (
        read_map(path)
        .obs.select(pl.exclude("kind"))
        .equals(
            table.select(pl.col("text", "empty").cast(pl.Categorical), "whole", "known", "number")
        )
    )
    assert encodings(path) <= KNOWN_TO_0_10


def test_a_map_of_an_earlier_version_is_read_and_verified(maps, tmp_path):
    """Such a file has `raw`, and the same record: the checksum is of the content."""
    identity = read_map(maps).identity
    with h5py.File(maps, "r+") as file:
        raw = file.create_dataset("raw", data=h5py.Empty("f"))
        raw.attrs.update({"encoding-type": "null", "encoding-version": "0.1.0"})
    assert read_map(maps).identity == identity
    assert anndata.read_h5ad(maps).shape == to_anndata(maps).shape
    with h5py.File(maps, "r+") as file:
        file["X"][0, 0] += 1
    with pytest.raises(ValueError, match="is damaged or was edited: X, obs, var or uns"):
        read_map(maps)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("absent", "absent is neither a folder of wells nor an .h5ad map: give one"),
        ("absent.h5ad", "absent.h5ad is not a map: there is no file of that name"),
        (".", "holds no wells: artefact.json is missing"),
    ],
)
def test_what_is_neither_wells_nor_a_map_is_one_sentence(tmp_path, source, sentence):
    with pytest.raises(ValueError, match=sentence):
        to_anndata(tmp_path / source)


def test_a_table_of_anndata_is_not_read_as_columns(wells, tmp_path):
    made = export(wells, tmp_path / "out.h5ad")
    assert isinstance(made, Table)
    with pytest.raises(ValueError, match=r"out\.h5ad is read by other software: only \.parquet"):
        made.to_polars()


def test_another_export_is_replaced_only_where_asked(wells, maps, tmp_path, capsys):
    out = tmp_path / "out.h5ad"
    export(wells, out)
    export(wells, out)
    assert "already there, with the same content" in capsys.readouterr().err
    with pytest.raises(ValueError, match="holds another export: choose another name, or overwr"):
        export(maps, out)
    export(maps, out, overwrite=True)
    assert anndata.read_h5ad(out).shape == (4, 5)
    shutil.copy(maps, out)  # what the record beside it does not describe
    with pytest.raises(ValueError, match="was not made by export: choose another name"):
        export(wells, out, overwrite=True)
    with pytest.raises(ValueError, match=r"a name that ends with \.parquet or \.csv$"):
        export(wells, tmp_path / "efaar.h5ad", settings=ExportSettings("efaar"))


READ = """
import sys, warnings
warnings.simplefilter("ignore")
import anndata
for path in sys.argv[1:]:
    print(anndata.__version__, *anndata.read_h5ad(path).shape)
"""


@pytest.mark.slow
@pytest.mark.parametrize("version", ["0.10", "0.11"])
def test_old_versions_open_maps_and_exports(wells, maps, tmp_path, version):
    python = tmp_path / "venv/bin/python"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    install = [python, "-m", "pip", "install", "-q", f"anndata=={version}.*"]
    if subprocess.run(install, check=False, capture_output=True).returncode:
        pytest.skip(f"needs anndata {version}, which pip cannot install here")
    export(wells, tmp_path / "out.h5ad")
    words = [python, "-c", READ, maps, tmp_path / "out.h5ad"]
    found = subprocess.run(words, capture_output=True, text=True, check=True, env={})
    lines = found.stdout.splitlines()
    assert [line.split()[1:] for line in lines] == [["4", "5"], ["80", "5"]]
    assert all(line.startswith(version) for line in lines)
