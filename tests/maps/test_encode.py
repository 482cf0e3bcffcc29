"""A map is encoded as anndata encodes it, byte for byte but for what old versions refuse."""

import hashlib
import io
import subprocess
import sys

import anndata
import h5py
import numpy as np
import polars as pl
import pytest
from anndata.io import write_elem

from phenomae.maps.encode import encode_h5ad

FEATURES = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
NAMES, VARIABLES, UNS = ["b", "ä", "c / d", ""], ["f0", "f1", "f2"], {"phenomae": '{"a": "ä"}'}
COLUMNS = pl.DataFrame(
    {
        "wells": pl.Series([1, 2, 3, 4], dtype=pl.Int32),
        "control": [True, False, False, True],
        "compound": ["taxol", "", "é", "x" * 300],
        "concentration_um": [1.5, None, 0.0, 1e-9],
    }
)


@pytest.mark.parametrize("columns", [COLUMNS, COLUMNS.select("wells"), pl.DataFrame()])
@pytest.mark.parametrize("obsm", [{}, {"X_umap": FEATURES[:, :2].copy()}])
def test_the_bytes_are_those_of_anndata(columns, obsm):
    obs = {name: columns[name].to_numpy() for name in columns.columns}
    table = anndata.AnnData(
        FEATURES, obs={"obs_names": NAMES, **obs}, var={"var_names": VARIABLES}, uns=UNS, obsm=obsm
    )
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        # All that anndata 0.12 writes but `raw`, a dataset without a value, which 0.10 and 0.11
        # refuse.
        for part in ("X", "obs", "var", "obsm", "varm", "obsp", "varp", "layers", "uns"):
            value = getattr(table, part)
            write_elem(file, part, dict(value) if part not in ("X", "obs", "var") else value)
        file.attrs["encoding-type"] = "anndata"
        file.attrs["encoding-version"] = "0.1.0"
    expected = buffer.getvalue()
    checksum = f"\nsha256:{hashlib.sha256(expected).hexdigest()}\n".encode()
    assert encode_h5ad(FEATURES, obs, NAMES, VARIABLES, UNS, obsm) == expected + checksum


def test_anndata_and_scipy_are_not_imported():
    code = (
        "import sys, phenomae.maps.map; from phenomae.maps.write import write_map; "
        "sys.exit(any(name in sys.modules for name in ('anndata', 'scipy', 'pandas', 'sklearn')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
