"""Maps of compounds at their concentrations."""

import anndata
import numpy as np
import polars as pl
import pytest

from phenomae.maps.map import MapSettings, map_wells
from phenomae.maps.read import read_map
from phenomae.wells import write_wells

TABLE = pl.DataFrame(
    {
        "plate": ["P1"] * 8,
        "well": [f"A0{column}" for column in range(1, 9)],
        "compound": ["taxol", "taxol", "taxol", "taxol", "dmso", None, "aspirin", ""],
        "concentration_um": [10 / 3, 3.33333, 1.5, 10.0, None, None, 1e-5, 7.0],
        "gene": [None, None, None, None, None, "TP53", None, None],
        "control": [False, False, False, False, True, False, False, False],
        "x": [1.0, 2.0, 4.0, 8.0, 99.0, 16.0, 32.0, 64.0],
    }
)
ROWS = {
    "aspirin @ 0.00001 uM": ("aspirin", 1e-5, 32.0),
    "taxol @ 1.5 uM": ("taxol", 1.5, 4.0),
    "taxol @ 10 uM": ("taxol", 10.0, 8.0),
    "taxol @ 3.33333 uM": ("taxol", 3.33333, 1.5),
}


def made(tmp_path, table: pl.DataFrame = TABLE, **settings) -> anndata.AnnData:
    write_wells(tmp_path / "wells", table, ["x"], overwrite=True)
    path = tmp_path / "map.h5ad"
    map_wells(tmp_path / "wells", path, settings=MapSettings("dose", **settings), overwrite=True)
    return anndata.read_h5ad(path)


def test_rows_are_compounds_at_concentrations(tmp_path, capsys):
    table = made(tmp_path)
    obs = table.obs
    found = zip(obs["compound"], obs["concentration_um"], np.ravel(table.X).tolist(), strict=True)
    assert dict(zip(table.obs_names, found, strict=True)) == ROWS
    assert obs["wells"].to_list() == [1, 1, 1, 2]
    assert "wells without a compound, left out of the map: 2" in capsys.readouterr().err
    read = read_map(tmp_path / "map.h5ad").obs
    assert read.schema["concentration_um"] == pl.Float64
    assert read["compound"].cast(pl.String).to_list() == ["aspirin", "taxol", "taxol", "taxol"]


def test_controls_need_no_concentration(tmp_path):
    table = made(tmp_path, controls=True)
    assert table.obs.loc["dmso", "control"]
    assert table.obs.loc["dmso", "compound"] == "dmso"
    assert np.isnan(table.obs.loc["dmso", "concentration_um"])
    nameless = made(
        tmp_path,
        TABLE.with_columns(compound=pl.col("compound").replace("dmso", None)),
        controls=True,
    )
    assert nameless.obs.loc["control", "compound"] == ""
    dosed = made(
        tmp_path, TABLE.with_columns(pl.col("concentration_um").fill_null(0)), controls=True
    )
    assert dosed.obs.loc["dmso @ 0 uM", "concentration_um"] == 0


def test_compounds_go_by_name_whatever_their_concentration(tmp_path):
    write_wells(tmp_path / "wells", TABLE, ["x"])
    map_wells(tmp_path / "wells", tmp_path / "map.h5ad", settings=MapSettings("compound"))
    table = anndata.read_h5ad(tmp_path / "map.h5ad")
    assert table.obs_names.to_list() == ["aspirin", "taxol"]
    assert list(table.obs) == ["wells", "guides", "batches", "control"]


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), -1.0])
def test_a_compound_needs_a_concentration(tmp_path, value):
    broken = TABLE.with_columns(
        concentration_um=pl.when(pl.col("well").is_in(["A03", "A04"]))
        .then(pl.lit(value, pl.Float64))
        .otherwise("concentration_um")
    )
    with pytest.raises(ValueError, match=r"2 wells have a compound and no concentration .* A03"):
        made(tmp_path, broken)
    if value is None:
        kept = made(tmp_path, broken, where="control OR concentration_um >= 0")
        assert "taxol @ 1.5 uM" not in kept.obs_names


def test_a_screen_of_genes_has_no_doses(tmp_path):
    with pytest.raises(ValueError, match="has no well with a compound for the map"):
        made(tmp_path, TABLE.with_columns(compound=pl.lit(None)))
