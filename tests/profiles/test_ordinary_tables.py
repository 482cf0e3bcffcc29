"""Tables as people have them, in which wells, numbers or features are easily taken for others."""

import anndata
import numpy as np
import pandas as pd
import polars as pl
import pytest
from pycytominer import aggregate

from phenomae.images.platemap.settings import PlateMapSettings
from phenomae.profiles.import_profiles import ImportSettings, import_profiles
from phenomae.wells import read_wells

FEATURES = ["Cells_AreaShape_Area", "Cytoplasm_Texture_DNA", "Nuclei_Intensity_DNA"]


def wells(plate="P1", count=4, **columns) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "Metadata_Plate": [plate] * count,
            "Metadata_Well": [f"A{at + 1:02d}" for at in range(count)],
            "Metadata_gene": [f"G{at}" for at in range(count)],
            "Metadata_control": [at == 0 for at in range(count)],
            **columns,
        }
    )


def write_long(path, values) -> None:
    """A site of JUMP-Lite: one crop."""
    path.parent.mkdir(parents=True)
    rows = [
        {"tile": 0, "label": 0, "object": "m", "branch": "b", "metric": f"X_{at}", "value": value}
        for at, value in enumerate(values)
    ]
    pl.DataFrame(rows).write_parquet(path)


def test_a_site_of_two_models_is_not_averaged(tmp_path):
    for model, value in (("dino-raw", 0.0), ("openphenom-jxl", 100.0)):
        write_long(tmp_path / model / "1/s1/b1/P1/A01-1/embedding.parquet", [value, value])
    with pytest.raises(ValueError, match=r"the tables are of 2 models, dino-raw, openphenom-jxl"):
        import_profiles(tmp_path, tmp_path.parent / "w1")


def test_a_site_of_two_files_is_not_averaged(tmp_path):
    for network in ("net1", "net2"):
        path = tmp_path / network / "P1" / "A01_1.npz"
        path.parent.mkdir(parents=True)
        np.savez(path, features=np.ones((3, 2), np.float32))
    with pytest.raises(ValueError, match=r"P1, well A01: the same site is in .*net1.*npz and"):
        import_profiles(tmp_path, tmp_path.parent / "w2")


@pytest.mark.parametrize("unit", ["sites", "cells"])
def test_a_row_that_is_there_twice_is_not_averaged(cells, tmp_path, unit):
    keys = ["Metadata_Plate", "Metadata_Well", "Metadata_Site"]
    table = aggregate(cells, keys, FEATURES) if unit == "sites" else cells
    table.to_parquet(tmp_path / "raw.parquet")
    table.assign(Metadata_Timepoint=24).to_parquet(tmp_path / "late.parquet")
    message = (
        rf"P1, well A01: the same {unit[:-1]} is in .*late.parquet row 1 and in .*raw.parquet row 1"
    )
    with pytest.raises(ValueError, match=message):
        import_profiles(tmp_path, tmp_path.parent / f"w-{unit}")


def test_integers_with_an_empty_cell_are_the_same_names(tmp_path):
    """pandas writes a column of integers as floats if a plate has an empty cell."""
    for plate, genes in (("P1", [1, 2, 3, 4]), ("P2", [1.0, 2.0, np.nan, 4.0])):
        table = wells(plate, Metadata_gene=genes, Nuclei_A=[0.5, 1, 2, 3])
        table.to_parquet(tmp_path / f"{plate}.parquet")
    sites = [("7.parquet", 7), ("7f.parquet", 7.0)]
    found = read_wells(import_profiles(tmp_path, tmp_path.parent / "genes"))
    assert found.table["gene"].to_list() == ["1", "2", "3", "4", "1", "2", None, "4"]
    for name, plate in sites:
        path = tmp_path.parent / "plates" / name
        path.parent.mkdir(exist_ok=True)
        site = 1 if name == "7.parquet" else 2
        wells(plate, Metadata_Site=site, Nuclei_A=float(site)).to_parquet(path)
    found = read_wells(import_profiles(tmp_path.parent / "plates", tmp_path.parent / "w3"))
    assert found.table["plate"].to_list() == ["7"] * 4
    assert found.table["sites"].to_list() == [2] * 4
    np.testing.assert_array_equal(found.features[:, 0], [1.5] * 4)


def test_numbered_features_keep_their_numbers_if_one_is_left_out(tmp_path):
    values = {f"feature_{at}": [float(at)] * 4 for at in range(4)}
    values["feature_1"][2] = np.nan
    wells(**values).to_parquet(tmp_path / "t.parquet")
    found = read_wells(import_profiles(tmp_path / "t.parquet", tmp_path / "wells"))
    assert found.names == ["feature_0", "feature_2", "feature_3"]
    np.testing.assert_array_equal(found.features, [[0, 2, 3]] * 4)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_the_index_of_pandas_is_no_feature(tmp_path, suffix):
    table = wells(5 * "P", 5, DP_0=np.arange(5.0), DP_1=np.ones(5))[[True, False, True, True, True]]
    path = tmp_path / f"t.{suffix}"
    (table.to_csv if suffix == "csv" else table.to_parquet)(path)
    found = read_wells(import_profiles(path, tmp_path / "wells"))
    assert found.names == ["DP_0", "DP_1"]
    np.testing.assert_array_equal(found.features[:, 0], [0, 2, 3, 4])


def test_a_column_that_a_setting_names_is_no_feature(tmp_path):
    table = pd.DataFrame(
        {
            "plate": ["P1"] * 3,
            "well": ["A01", "A02", "A03"],
            "compound": ["DMSO", "x", "x"],
            "dose": [0.0, 0.5, 1.5],
            "emb_0": [1.0, 2.0, 3.0],
        }
    )
    table.to_parquet(tmp_path / "t.parquet")
    labels = PlateMapSettings(
        concentration_column="dose", control_column="compound", control_label="DMSO"
    )
    found = read_wells(import_profiles(tmp_path / "t.parquet", tmp_path / "wells", labels=labels))
    assert found.names == ["emb_0"]
    assert found.table["concentration_um"].to_list() == [0.0, 0.5, 1.5]


@pytest.mark.parametrize("word", ["NULL", "N/A", "#VALUE!", "<NA>"])
def test_a_word_for_a_missing_number_does_not_make_text_of_a_feature(tmp_path, word):
    table = wells(DP_0=[1.0, 2, 3, 4], DP_1=[1.0, 2, 3, 4]).astype({"DP_1": object})
    table.loc[1, "DP_1"] = word
    table.to_csv(tmp_path / "t.csv", index=False)
    settings = ImportSettings(max_missing=0.5)
    found = read_wells(import_profiles(tmp_path / "t.csv", tmp_path / "wells", settings))
    assert found.names == ["DP_0", "DP_1"]
    assert found.table["well"].to_list() == ["A01", "A03", "A04"]


def test_a_gene_called_as_a_missing_number_stays(tmp_path):
    path = tmp_path / "t.csv"
    wells(Metadata_gene=["G", "null", "G", "G"], DP_0=[1.0, 2, 3, 4]).to_csv(path, index=False)
    labels = PlateMapSettings(empty_words="")
    found = read_wells(import_profiles(path, tmp_path / "wells", labels=labels))
    assert found.table["gene"].to_list() == ["G", "null", "G", "G"]


def test_whole_numbers_beside_unmarked_metadata_must_be_named(tmp_path):
    table = pd.DataFrame({"plate": ["P1"] * 2, "well": ["A01", "A02"], "f1": [1, 2]})
    table.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(ValueError, match="f1 has whole numbers only, which features must name"):
        import_profiles(tmp_path / "t.csv", tmp_path / "wells")
    settings = ImportSettings(features="f")
    found = read_wells(import_profiles(tmp_path / "t.csv", tmp_path / "wells", settings))
    assert found.names == ["f1"]


def test_measurements_that_are_no_features_are_printed(tmp_path, capsys):
    wells(Cells_Count=[3.0, 4, 5, 6], DP_0=1.0, DP_1=2.0).to_parquet(tmp_path / "t.parquet")
    import_profiles(tmp_path / "t.parquet", tmp_path / "wells")
    said = capsys.readouterr().err
    assert (
        "2 columns of numbers are no features (DP_0, DP_1), but others such as Cells_Count" in said
    )


def test_sites_that_keep_an_average_object_number_are_sites(cells, tmp_path):
    keys = ["Metadata_Plate", "Metadata_Well", "Metadata_Site"]
    table = cells.assign(Cells_Number_Object_Number=cells["Metadata_ObjectNumber"])
    columns = ["Cells_Number_Object_Number", *FEATURES]
    aggregate(table, keys, columns, compute_object_count=True).to_parquet(tmp_path / "t.parquet")
    found = read_wells(import_profiles(tmp_path / "t.parquet", tmp_path / "wells"))
    assert found.table["sites"].to_list() == [2] * 12
    assert found.table["Metadata_cells"].to_list() == [6] * 12


def test_counts_of_cells_with_an_empty_cell(tmp_path):
    path = tmp_path / "t.csv"
    wells(Metadata_Object_Count=[12, 7, None, 3], DP_0=[1.0, 2, 3, 4]).to_csv(path, index=False)
    found = read_wells(import_profiles(path, tmp_path / "wells"))
    assert found.table["Metadata_cells"].to_list() == [12, 7, None, 3]


def make_anndata(x, var_names, **obs) -> anndata.AnnData:
    labels = wells(count=len(x)).drop(
        columns=["Metadata_Plate"] if "Metadata_Plate" in var_names else []
    )
    frame = labels.assign(**obs)
    frame.index = frame.index.astype(str)
    return anndata.AnnData(np.asarray(x), obs=frame, var=pd.DataFrame(index=var_names))


def test_numbers_in_obs_are_no_features(tmp_path):
    table = make_anndata(
        np.ones((3, 2), np.float32), ["x", "y"], n_cells=[3.0, 4, 5], Nuclei_Count=1.0
    )
    table.write_h5ad(tmp_path / "t.h5ad")
    found = read_wells(import_profiles(tmp_path / "t.h5ad", tmp_path / "wells"))
    assert found.names == ["x", "y"]


@pytest.mark.filterwarnings("ignore:Variable names are not unique")
def test_a_feature_that_is_there_twice_in_x(tmp_path):
    make_anndata(np.ones((3, 2), np.float32), ["x", "x"]).write_h5ad(tmp_path / "t.h5ad")
    with pytest.raises(ValueError, match=r"t.h5ad has 'x' twice in var_names and obs"):
        import_profiles(tmp_path / "t.h5ad", tmp_path / "wells")


def test_a_plate_that_float32_rounds(tmp_path):
    x = np.array([[110000293081, 1], [110000293082, 2]])
    names = ["Metadata_Plate", "Cells_A"]
    make_anndata(x.astype(np.float32), names).write_h5ad(tmp_path / "t.h5ad")
    with pytest.raises(ValueError, match=r"Metadata_Plate is in X as float32, which rounds"):
        import_profiles(tmp_path / "t.h5ad", tmp_path / "wells")
    make_anndata(x.astype(np.float64), names).write_h5ad(tmp_path / "exact.h5ad")
    found = read_wells(import_profiles(tmp_path / "exact.h5ad", tmp_path / "wells"))
    assert found.table["plate"].to_list() == ["110000293081", "110000293082"]


def rxrx3(**columns) -> pd.DataFrame:
    table = {
        "experiment_name": "gene-001",
        "plate": 1,
        "address": ["A01", "A02", "A03"],
        "gene": [None, None, "TP53"],
        "treatment": ["EMPTY_control", "CRISPR_control", "TP53_guide_1"],
        "concentration": None,
        "perturbation_type": "CRISPR",
        "feature_0": [1.0, 2.0, 3.0],
    }
    return pd.DataFrame({**table, **columns})


def test_other_controls_of_rxrx3(tmp_path):
    rxrx3().to_parquet(tmp_path / "t.parquet")
    labels = PlateMapSettings(control_column="treatment", control_label="CRISPR_control")
    found = read_wells(import_profiles(tmp_path / "t.parquet", tmp_path / "a", labels=labels))
    assert found.table["control"].to_list() == [False, True, False]
    for setting, message in (
        ({"control_column": "nosuch"}, r"no column 'nosuch' \(setting control_column\)"),
        ({"batch_column": "nosuch"}, r"fixed meanings: leave out batch_column"),
    ):
        with pytest.raises(ValueError, match=message):
            import_profiles(
                tmp_path / "t.parquet", tmp_path / "b", labels=PlateMapSettings(**setting)
            )


def test_a_well_of_rxrx3_without_metadata(tmp_path):
    names = ["gene-001_1_A01", "gene-001_1_A02", "gene-001_1_A03"]
    table = rxrx3(well_id=names)
    table.drop(columns="feature_0")[:2].to_csv(tmp_path / "m.csv", index=False)
    table[["well_id", "feature_0"]].to_parquet(tmp_path / "t.parquet")
    labels = PlateMapSettings(metadata=tmp_path / "m.csv")
    with pytest.raises(ValueError, match=r"1 of 3 wells are not known, such as gene-001_1_A03"):
        import_profiles(tmp_path / "t.parquet", tmp_path / "a", labels=labels)


def test_a_file_of_deep_profiler_that_was_cut(tmp_path):
    path = tmp_path / "P1" / "A01_1.npz"
    path.parent.mkdir()
    np.savez(path, features=np.ones((30, 20), np.float32))
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(ValueError, match=r"A01_1.npz is not a file of DeepProfiler"):
        import_profiles(tmp_path / "P1", tmp_path / "wells")
