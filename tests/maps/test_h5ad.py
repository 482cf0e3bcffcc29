"""Maps read with h5py alone; the oracle is anndata."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from scipy import sparse

from phenomae.maps.h5ad import read_h5ad
from phenomae.maps.read import read_map

OBS: dict[str, Any] = {
    "wells": [1, 2, 3],
    "small": np.array([1, 2, 3], dtype=np.int8),
    "dose": [1.5, np.nan, 2.0],
    "control": [True, False, True],
    "text": ["x", "", "ü"],
    "batch": pd.Categorical(["u", None, "v"]),
    "count": pd.array([1, None, 3], dtype="Int64"),
    "known": pd.array([True, None, False], dtype="boolean"),
    "gene": pd.array(["a", None, "b"], dtype="string"),
}
LEFT_TO_ANNDATA = {
    "ordered": pd.Categorical(["u", "v", "v"], ordered=True),
    "number": pd.Categorical([1, 2, 2]),
}
X = np.array([[1.5, 0.0, -2.0, 0.1], [0.0, 1.0, 0.0, 0.0], [3.0, 0.0, 0.0, 1 / 3]])


def write(path: Path, x: Any, obs: dict[str, Any], **more: Any) -> Path:
    frame = pd.DataFrame(obs, index=["a", "b", "ß"])
    with anndata.settings.override(allow_write_nullable_strings=True):
        table = anndata.AnnData(x, obs=frame, **more)
        table.write_h5ad(path, convert_strings_to_categoricals=False)
    return path


def check_same(path: Path) -> None:
    """Compare with anndata: names, features, columns and their types."""
    found, expected = read_map(path), anndata.read_h5ad(path)
    matrix: Any = expected.X
    dense = matrix if isinstance(matrix, np.ndarray) else matrix.toarray()
    assert found.names == expected.obs_names.to_list()
    assert found.features.tobytes() == dense.astype(np.float32).tobytes()
    assert_frame_equal(found.obs, pl.from_pandas(expected.obs))


@pytest.mark.parametrize("make", [np.asarray, sparse.csr_matrix, sparse.csc_matrix])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_map_is_read_as_anndata_reads_it(tmp_path: Path, make: Callable[..., Any], dtype: Any):
    path = write(tmp_path / "map.h5ad", make(X.astype(dtype)), OBS)
    assert read_h5ad(path, ("phenomae",), "X_umap") is not None
    check_same(path)


@pytest.mark.parametrize("name", [*OBS, *LEFT_TO_ANNDATA])
def test_each_column_is_read_as_anndata_reads_it(tmp_path: Path, name: str):
    column = {name: (OBS | LEFT_TO_ANNDATA)[name]}
    path = write(tmp_path / "map.h5ad", X, column)
    assert (read_h5ad(path, ("phenomae",), "X_umap") is None) == (name in LEFT_TO_ANNDATA)
    check_same(path)


def test_a_map_without_columns_or_with_an_odd_note_is_left_to_anndata(tmp_path: Path):
    bare = write(tmp_path / "bare.h5ad", X, {})
    assert read_h5ad(bare, ("phenomae",), "X_umap") is None
    check_same(bare)
    odd = write(tmp_path / "odd.h5ad", X, OBS, uns={"phenomae": 3})
    assert read_h5ad(odd, ("phenomae",), "X_umap") is None
    with pytest.raises(ValueError, match="uns/phenomae is damaged: expected the JSON"):
        read_map(odd)


def test_another_version_of_an_encoding_is_left_to_anndata(tmp_path: Path):
    path = write(tmp_path / "map.h5ad", X, OBS)
    with h5py.File(path, "r+") as file:
        file["obs"].attrs["encoding-version"] = "9.9.9"
    assert read_h5ad(path, ("phenomae",), "X_umap") is None


def test_a_matrix_of_another_height_than_obs_is_refused(tmp_path: Path):
    path = write(tmp_path / "map.h5ad", X, OBS)
    with h5py.File(path, "r+") as file:
        attributes = dict(file["X"].attrs)
        del file["X"]
        file.create_dataset("X", data=X[:2]).attrs.update(attributes)
    assert read_h5ad(path, ("phenomae",), "X_umap") is None
    with pytest.raises(ValueError, match=r"not a readable \.h5ad file"):
        read_map(path)


def test_neither_anndata_nor_pandas_is_imported(tmp_path: Path):
    path = write(tmp_path / "map.h5ad", X, OBS)
    words = (
        "import sys; from pathlib import Path; from phenomae.maps.read import read_map; "
        f"read_map(Path({str(path)!r})); print({{'anndata', 'pandas', 'scipy'}} & {{*sys.modules}})"
    )
    found = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True)
    assert found.stdout.strip() == "set()", found.stderr
