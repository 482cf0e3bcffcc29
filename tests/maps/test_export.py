"""Tables for other tools: what they hold, and that pycytominer and copairs take them."""

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import polars as pl
import pytest
from copairs.map import average_precision
from pycytominer import aggregate, consensus, feature_select, normalize

from phenomae.maps.export import ExportSettings, export
from phenomae.maps.map import MapSettings, map_wells
from phenomae.maps.read import read_map
from phenomae.profiles.import_profiles import import_profiles
from phenomae.records import WELL_COLUMNS
from phenomae.wells import read_wells, write_wells


@pytest.fixture
def wells(make_screen) -> Path:
    return make_screen(batch=pl.col("plate"), concentration_um=pl.lit(1.5))


def written(source: Path, name: str, form: str = "pycytominer") -> pd.DataFrame:
    out = source.parent / name
    export(source, out, settings=ExportSettings(form))
    return pd.read_csv(out) if out.suffix == ".csv" else pd.read_parquet(out)


@pytest.mark.parametrize("name", ["out.parquet", "deep/out.csv"])
def test_wells_in_the_form_of_pycytominer(wells, name):
    table, screen = written(wells, name), read_wells(wells)
    features = [f"Cells_feature_{index:04d}" for index in range(5)]
    assert list(table) == [
        "Metadata_Plate",
        "Metadata_Well",
        "Metadata_sites",
        "Metadata_Batch",
        *(f"Metadata_{column}" for column in list(WELL_COLUMNS)[4:]),
        "Metadata_control_type",
        "Metadata_pert_type",
        *features,
    ]
    np.testing.assert_array_equal(table[features].to_numpy(np.float32), screen.features)
    assert table["Metadata_Well"].to_list() == screen.table["well"].to_list()
    assert table["Metadata_control"].to_list() == screen.table["control"].to_list()
    of_controls = table["Metadata_gene"] == "NTC"
    assert (table["Metadata_control_type"] == "negcon").equals(of_controls)
    assert table["Metadata_control_type"][~of_controls].isna().all()
    assert set(table["Metadata_pert_type"][of_controls]) == {"control"}
    assert set(table["Metadata_pert_type"][~of_controls]) == {"trt"}


def test_pycytominer_takes_it(wells):
    table = written(wells, "out.parquet")
    negcon = "Metadata_control_type == 'negcon'"
    normalized = normalize(table, samples=negcon, method="standardize")
    features = read_wells(wells).features.astype(np.float64)
    controls = features[(table["Metadata_gene"] == "NTC").to_numpy()]
    np.testing.assert_allclose(
        normalized.filter(like="Cells_").to_numpy(),
        (features - controls.mean(axis=0)) / controls.std(axis=0),
        rtol=1e-5,
    )
    of_genes = aggregate(normalized, strata=["Metadata_gene"], operation="mean")
    assert of_genes.shape == (8, 1 + 5)
    assert consensus(table, ["Metadata_gene"], operation="median").shape == (8, 1 + 5)
    assert feature_select(table, operation="variance_threshold").shape == table.shape


@pytest.mark.parametrize("controls", ["NTC", None])
def test_copairs_takes_it(make_screen, controls):
    gene = pl.when("control").then(pl.lit(controls, pl.String)).otherwise("gene")
    wells = make_screen(batch=pl.col("plate"), gene=gene)
    table = written(wells, "out.parquet").query("Metadata_gene != 'lone'")
    table["Metadata_gene"] = table["Metadata_gene"].fillna("control")  # as docs/maps.md says
    meta = table.filter(regex="^Metadata_").reset_index(drop=True)
    features = table.filter(regex="^Cells_").to_numpy()
    found = average_precision(
        meta,
        features,
        ["Metadata_gene"],
        [],
        ["Metadata_Plate"],
        ["Metadata_pert_type"],
        progress_bar=False,
    )
    of_genes = found[found["Metadata_pert_type"] == "trt"].groupby("Metadata_gene")
    means = of_genes["average_precision"].mean()
    assert means["strong"] > 0.95
    assert means["strong"] > means["none0"]
    assert (of_genes["n_pos_pairs"].min() == 7).all()


def test_wells_in_the_form_of_the_public_benchmark(wells, tmp_path):
    table = written(wells, "out.parquet", "efaar")
    assert list(table)[:4] == ["perturbation", "plate", "well", "sites"]
    assert list(table)[-5:] == [f"feature_{index}" for index in range(5)]
    assert set(table["perturbation"][table["control"]]) == {"control"}
    treated = table[~table["control"]]
    assert treated["perturbation"].equals(treated["gene"])
    assert treated["treatment"].equals(treated["guide"])
    assert set(table["concentration"]) == {1.5}
    bare = pl.DataFrame(
        {
            "plate": ["P"] * 3,
            "well": ["A1", "A2", "A3"],
            "gene": ["TP53", "", None],
            "compound": ["taxol", "taxol", None],
            "perturbation": ["a", "b", "c"],
            "control": [False] * 3,
            "x": [1.0, 2.0, 3.0],
        }
    )
    write_wells(tmp_path / "bare", bare, ["x"])
    named = written(tmp_path / "bare", "bare.csv", "efaar")
    assert named["perturbation"].to_list() == ["TP53", "taxol", "c"]


def test_maps_in_both_forms(wells, tmp_path):
    path = tmp_path / "map.h5ad"
    map_wells(wells, path, settings=MapSettings(phenotype=1.0))
    genes = read_map(path)
    for form, features, head in (
        ("pycytominer", "Cells_feature_", ["Metadata_gene", "Metadata_wells", "Metadata_guides"]),
        ("efaar", "feature_", ["perturbation", "wells", "guides"]),
    ):
        table = written(path, f"{form}.csv", form)
        assert list(table)[:3] == head
        assert table[head[0]].to_list() == genes.names
        found = table.filter(like=features).to_numpy(np.float32)
        np.testing.assert_array_equal(found, genes.features)
        p = table.filter(like="consistency_p").to_numpy().ravel()
        np.testing.assert_allclose(p, genes.obs["consistency_p"].to_numpy())
    assert "Metadata_pert_type" in written(path, "pycytominer.csv")


def test_a_map_by_dose_has_compounds_and_concentrations(make_screen, tmp_path):
    wells = make_screen(compound=pl.col("gene"), concentration_um=pl.lit(0.5))
    map_wells(wells, tmp_path / "map.h5ad", settings=MapSettings("dose", where="gene != 'lone'"))
    table = written(tmp_path / "map.h5ad", "efaar.parquet", "efaar")
    assert table["perturbation"][0] == "none0"
    assert table["dose"][0] == "none0 @ 0.5 uM"
    assert set(table["concentration"]) == {0.5}
    table = written(tmp_path / "map.h5ad", "pycytominer.parquet")
    assert table["Metadata_dose"][0] == "none0 @ 0.5 uM"
    assert table["Metadata_compound"][0] == "none0"
    assert set(table["Metadata_concentration_um"]) == {0.5}


def test_a_map_made_elsewhere(tmp_path):
    obs = pd.DataFrame({"kind": pd.Categorical(["a", "b"])}, index=["TP53", "PLK1"])
    anndata.AnnData(np.eye(2), obs=obs).write_h5ad(tmp_path / "map.h5ad")
    table = written(tmp_path / "map.h5ad", "out.parquet")
    assert list(table)[:2] == ["Metadata_name", "Metadata_kind"]
    assert table["Metadata_kind"].to_list() == ["a", "b"]
    table = written(tmp_path / "map.h5ad", "efaar.parquet", "efaar")
    assert table["perturbation"].to_list() == ["TP53", "PLK1"]


def test_features_of_a_map_made_elsewhere_keep_names_that_pycytominer_finds(tmp_path):
    var = pd.DataFrame(index=["Cells_AreaShape_Area", "Nuclei_y"])
    table = anndata.AnnData(np.eye(2), obs=pd.DataFrame(index=["TP53", "PLK1"]), var=var)
    table.write_h5ad(tmp_path / "map.h5ad")
    assert list(written(tmp_path / "map.h5ad", "out.parquet"))[1:] == list(var.index)


@pytest.mark.parametrize("form", ["pycytominer", "efaar"])
def test_names_that_look_like_numbers_stay_text(tmp_path, form):
    rows = 120  # more than polars looks at to tell a type
    names = [f"{at:04d}" for at in range(rows - 1)] + ["P0"]
    table = pl.DataFrame(
        {
            "plate": names,
            "well": ["A01"] * rows,
            "gene": names,
            "control": [False] * rows,
            "Metadata_lot": [f"{at:03d}" for at in range(rows)],
            "Nuclei_A": [0.5] * rows,
        }
    )
    made = write_wells(tmp_path / "wells", table, ["Nuclei_A"])
    found = export(made, tmp_path / "out.csv", settings=ExportSettings(form)).to_polars()
    prefix = "Metadata_" if form == "pycytominer" else ""
    plate = "Metadata_Plate" if prefix else "plate"
    assert found[plate].to_list() == names
    assert found[f"{prefix}gene"].to_list() == names
    assert found["Metadata_lot"].to_list() == table["Metadata_lot"].to_list()
    assert found[f"{prefix}control"].dtype == pl.Boolean


def test_labels_of_positive_controls_outlive_an_export(tmp_path):
    table = pl.DataFrame(
        {
            "plate": ["P1"] * 3,
            "well": ["A01", "A02", "A03"],
            "control": [True, False, False],
            "Metadata_control_type": ["negcon", "poscon_cp", None],
            "Nuclei_A": [1.0, 2.0, 3.0],
        }
    )
    made = write_wells(tmp_path / "wells", table, ["Nuclei_A"])
    export(made, tmp_path / "out.csv")
    found = read_wells(import_profiles(tmp_path / "out.csv", tmp_path / "again")).table
    assert found["Metadata_control_type"].to_list() == ["negcon", "poscon_cp", None]
    assert "Metadata_pert_type" not in found.columns


def test_what_a_map_made_elsewhere_says_of_controls_stays(tmp_path):
    obs = pd.DataFrame({"control": ["yes", "no"]}, index=["TP53", "PLK1"])
    anndata.AnnData(np.eye(2), obs=obs).write_h5ad(tmp_path / "words.h5ad")
    assert "Metadata_pert_type" not in written(tmp_path / "words.h5ad", "words.csv")
    obs = pd.DataFrame({"control": [True, False], "pert_type": ["x", "y"]}, index=["TP53", "PLK1"])
    anndata.AnnData(np.eye(2), obs=obs).write_h5ad(tmp_path / "types.h5ad")
    table = written(tmp_path / "types.h5ad", "types.csv")
    assert table["Metadata_pert_type"].to_list() == ["x", "y"]
    assert table["Metadata_control_type"][0] == "negcon"


@pytest.mark.parametrize(
    ("obs", "form", "sentence"),
    [
        ({"name": [1, 2]}, "efaar", "has a column 'name' in obs, the name of the column of row"),
        ({"perturbation": [1, 2]}, "efaar", "two columns would be called perturbation: rename"),
        (
            {"plate": [1, 2], "Metadata_Plate": [1, 2]},
            "pycytominer",
            "two columns would be called Metadata_Plate: rename one of them in obs",
        ),
    ],
)
def test_columns_that_cannot_be_told_apart(tmp_path, obs, form, sentence):
    obs = pd.DataFrame(obs, index=["TP53", "PLK1"])
    anndata.AnnData(np.eye(2), obs=obs).write_h5ad(tmp_path / "map.h5ad")
    with pytest.raises(ValueError, match=sentence):
        written(tmp_path / "map.h5ad", "out.parquet", form)


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_the_same_table_is_the_same_bytes_and_others_are_replaced_where_asked(
    wells, tmp_path, capsys, suffix
):
    one, two = tmp_path / f"one{suffix}", tmp_path / f"two{suffix}"
    made = export(str(wells), str(one))
    export(wells, two)
    assert one.read_bytes() == two.read_bytes()
    read = pl.read_csv if suffix == ".csv" else pl.read_parquet
    assert made.to_polars().equals(read(one))
    assert repr(made) == f"Table('{one}')"
    export(wells, one)
    assert "already there, with the same content" in capsys.readouterr().err
    efaar = ExportSettings("efaar")
    with pytest.raises(ValueError, match="holds another export: choose another name, or over"):
        export(wells, one, settings=efaar)
    assert one.read_bytes() == two.read_bytes()
    export(wells, one, settings=efaar, overwrite=True)
    assert one.read_bytes() != two.read_bytes()
    export(wells, one, overwrite=True)
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize("name", ["mine.csv", "mine.parquet", "folder.csv"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_what_export_did_not_make_is_not_replaced(wells, tmp_path, name, overwrite):
    out = tmp_path / name
    if name.startswith("folder"):
        out.mkdir()
    else:
        out.write_text("gene,score\nTP53,1\n")
    with pytest.raises(ValueError, match=f"{name} was not made by export: choose another name"):
        export(wells, out, overwrite=overwrite)
    assert out.is_dir() or out.read_text() == "gene,score\nTP53,1\n"


@pytest.mark.parametrize(
    ("source", "out", "form", "sentence"),
    [
        ("screen", "out.xlsx", "efaar", r"out.xlsx cannot be the table: .* \.parquet or \.csv"),
        (
            "screen",
            "out.csv",
            "jump",
            "form must be one of pycytominer, efaar, embedding-atlas, excel, not jump",
        ),
        ("absent", "out.csv", "efaar", "absent is neither a folder of wells nor an .h5ad map"),
        ("folder", "out.csv", "efaar", "folder holds no wells: artefact.json is missing"),
        ("absent.h5ad", "out.csv", "efaar", "is not a map: there is no file of that name"),
    ],
)
def test_exports_that_will_not_do(wells, tmp_path, source, out, form, sentence):
    (tmp_path / "folder").mkdir()
    with pytest.raises(ValueError, match=sentence):
        export(tmp_path / source, tmp_path / out, settings=ExportSettings(form))
    assert not (tmp_path / out).exists()
