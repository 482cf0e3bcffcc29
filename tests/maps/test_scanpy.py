"""Maps open in scanpy."""

import warnings

import numpy as np
import pytest
from sklearn.decomposition import PCA

from phenomae.maps.map import MapSettings, map_wells


@pytest.mark.parametrize("phenotype", [None, 1.0])
def test_scanpy_reads_a_map_and_finds_its_principal_axes_and_neighbours(
    make_screen, tmp_path, phenotype
):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what its own parts say of each other
        import scanpy

        map_wells(make_screen(), tmp_path / "map.h5ad", settings=MapSettings(phenotype=phenotype))
        table = scanpy.read_h5ad(tmp_path / "map.h5ad")
        scanpy.tl.pca(table, n_comps=3)
        scanpy.pp.neighbors(table, n_neighbors=3, method="gauss")
    wanted = PCA(3, svd_solver="full").fit(np.asarray(table.X, dtype=np.float64))
    np.testing.assert_allclose(table.uns["pca"]["variance"], wanted.explained_variance_, rtol=1e-4)
    assert table.obsp["connectivities"].shape == (7, 7)
