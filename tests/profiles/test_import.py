"""Tables of pycytominer and of `export` become wells with the same numbers, names and metadata."""

import itertools
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from pycytominer import aggregate
from pycytominer.cyto_utils import output

from phenomae.correction.correct import CorrectSettings, correct
from phenomae.images.platemap.settings import PlateMapSettings
from phenomae.maps.export import ExportSettings, export
from phenomae.profiles.import_profiles import ImportSettings, import_profiles
from phenomae.wells import read_wells, write_wells

FEATURES = ["Cells_AreaShape_Area", "Cytoplasm_Texture_DNA", "Nuclei_Intensity_DNA"]
STRATA = ["Metadata_Plate", "Metadata_Well"]


def averaged(cells: pd.DataFrame, operation: str) -> pd.DataFrame:
    """The wells of the cells, with their metadata, by pycytominer."""
    labels = ["Metadata_compound", "Metadata_pert_type", "Metadata_cell_line"]
    return aggregate(
        cells, [*STRATA, *labels], FEATURES, operation=operation, compute_object_count=True
    )


@pytest.mark.parametrize("kind", ["parquet", "csv", "csv.gz", "anndata_h5ad"])
def test_tables_of_pycytominer(cells, tmp_path, kind):
    table = averaged(cells, "mean")
    path = tmp_path / f"wells.{'h5ad' if kind == 'anndata_h5ad' else kind}"
    gzip = {"method": "gzip"} if kind == "csv.gz" else None
    output(table, path, "csv" if kind == "csv.gz" else kind, compression_options=gzip)
    found = read_wells(import_profiles(path, tmp_path / "wells"))
    assert found.names == FEATURES
    np.testing.assert_allclose(found.features, table[FEATURES].to_numpy(), rtol=1e-5)
    assert found.table["plate"].to_list() == table["Metadata_Plate"].to_list()
    assert found.table["well"].to_list() == table["Metadata_Well"].to_list()
    assert found.table["compound"].to_list() == table["Metadata_compound"].to_list()
    assert found.table["control"].to_list() == table["Metadata_pert_type"].eq("negcon").to_list()
    assert found.table["Metadata_cell_line"].to_list() == ["U2OS"] * 12
    assert found.table["Metadata_cells"].to_list() == [6] * 12
    assert found.table["sites"].is_null().all()


@pytest.mark.parametrize("statistic", ["mean", "median"])
@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_cells_are_averaged_as_by_pycytominer(cells, tmp_path, statistic, suffix):
    path = tmp_path / f"cells.{suffix}"
    (cells.to_parquet if suffix == "parquet" else cells.to_csv)(path, index=False)
    settings = ImportSettings(statistic=statistic)
    found = read_wells(import_profiles([path], tmp_path / "wells", settings))
    expected = averaged(cells, statistic)
    np.testing.assert_allclose(found.features, expected[FEATURES].to_numpy(), rtol=1e-5)
    assert found.table["Metadata_cells"].to_list() == [6] * 12
    assert found.table["sites"].to_list() == [2] * 12
    assert "Metadata_Site" not in found.table.columns


def test_sites_of_two_tables_are_averaged(cells, tmp_path):
    sites = aggregate(cells, [*STRATA, "Metadata_Site"], FEATURES, operation="mean")
    for site, table in sites.groupby("Metadata_Site"):
        table.to_parquet(tmp_path / f"site{site}.parquet")
    found = read_wells(import_profiles(tmp_path, tmp_path.parent / "of_sites"))
    shutil.rmtree(tmp_path.parent / "of_sites")
    expected = aggregate(sites, STRATA, FEATURES, operation="mean")
    np.testing.assert_allclose(found.features, expected[FEATURES].to_numpy(), rtol=1e-5)
    assert found.table["sites"].to_list() == [2] * 12


@pytest.mark.parametrize("names", [["Cells_A", "Nuclei_B"], ["emb_x", "emb_y"], None])
@pytest.mark.parametrize("form", ["pycytominer", "efaar"])
@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_an_export_is_read_back(tmp_path, names, form, suffix):
    columns = names or ["feature_0000", "feature_0001"]
    table = pl.DataFrame(
        {
            "plate": ["P2", "P1", "P1", "P1"],
            "well": ["A01", "B02", "C10", "AA01"],
            "sites": [4, None, 3, 4],
            "batch": ["b1", "b2", "b2", "b2"],
            "gene": ["TP53", None, "PLK1", None],
            "guide": ["g1", None, "g2", None],
            "compound": [None, None, None, "taxol"],
            "concentration_um": [None, None, None, 1.5],
            "control": [False, True, False, False],
            "Metadata_lab": ["x", "y", None, "x"],
            columns[0]: [0.1, 0.2, 0.3, 0.4],
            columns[1]: [1.0, -2.5, 3e-9, 4e9],
        }
    )
    made = write_wells(tmp_path / "made", table, columns)
    export(made, tmp_path / f"table.{suffix}", settings=ExportSettings(form))
    found = read_wells(import_profiles(tmp_path / f"table.{suffix}", tmp_path / "found"))
    expected = read_wells(made)
    assert found.table.equals(expected.table)
    np.testing.assert_array_equal(found.features, expected.features)
    assert found.names == (None if form == "efaar" else expected.names)


def test_plates_of_a_large_screen_share_files(tmp_path, monkeypatch):
    monkeypatch.setattr("phenomae.profiles.import_profiles.WELLS_PER_FILE", 4096)
    rng = np.random.default_rng(5)
    count, size = 5184, 384
    at = np.arange(count)
    values = (rng.normal(size=(count, 2)) + at[:, None] // size).astype(np.float32)
    table = pl.DataFrame(
        {
            "Metadata_Plate": [f"P{index // size:02d}" for index in at],
            "Metadata_Well": [
                f"{chr(65 + index % size // 24)}{index % 24 + 1:02d}" for index in at
            ],
            "Metadata_gene": [f"G{index % 9}" for index in at],
            "Metadata_control": [bool(index % 9 == 0) for index in at],
            "Nuclei_A": values[:, 0],
            "Nuclei_B": values[:, 1],
        }
    )
    # Rows in any order, and a plate that is not next to the others in the table.
    table.sample(fraction=1, shuffle=True, seed=1).write_parquet(tmp_path / "profiles.parquet")
    made = import_profiles(tmp_path / "profiles.parquet", tmp_path / "wells").path
    files = sorted(path.name for path in made.glob("*.parquet"))
    assert files == ["plates-0000.parquet", "plates-0001.parquet"]
    found = read_wells(made)
    assert found.table["plate"].equals(table["Metadata_Plate"].alias("plate"))
    assert found.table["well"].equals(table["Metadata_Well"].alias("well"))
    np.testing.assert_array_equal(found.features, values)
    settings = CorrectSettings("center-scale", "plate", diagnose=False)
    correct(made, tmp_path / "corrected", settings=settings)
    corrected = read_wells(tmp_path / "corrected")
    for plate in range(14):
        own, its = at // size == plate, values[at // size == plate].astype(np.float64)
        controls = its[at[own] % 9 == 0]
        expected = (its - controls.mean(axis=0)) / controls.std(axis=0)
        np.testing.assert_allclose(corrected.features[own], expected, rtol=1e-4, atol=1e-5)
    damaged = made / "plates-0001.parquet"
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    with pytest.raises(ValueError, match=r"plates-0001.parquet"):
        read_wells(made)


def test_labels_come_from_a_plate_map_and_the_tables_of_jump(cells, tmp_path):
    bare = averaged(cells, "mean")[[*STRATA, *FEATURES]]
    bare.to_csv(tmp_path / "profiles.csv.gz", index=False)
    # JUMP's metadata: well.csv has all wells of the data set, crispr.csv the genes.
    places = itertools.product(("P1", "P2", "P3"), range(1, 7))
    wells = [("source_1", plate, f"A{at:02d}", f"JCP2022_80{at:04d}") for plate, at in places]
    names = ["Metadata_Source", "Metadata_Plate", "Metadata_Well", "Metadata_JCP2022"]
    pd.DataFrame(wells, columns=names).to_csv(tmp_path / "well.csv", index=False)
    genes = {f"JCP2022_80{at:04d}": ("non-targeting" if at < 3 else f"G{at}") for at in range(1, 7)}
    pd.DataFrame({"Metadata_JCP2022": genes.keys(), "Metadata_Symbol": genes.values()}).to_csv(
        tmp_path / "crispr.csv", index=False
    )
    labels = PlateMapSettings(
        plate_map=tmp_path / "well.csv",
        metadata=tmp_path / "crispr.csv",
        batch_column="Metadata_Source",
        control_column="Metadata_Symbol",
        control_label="non-targeting",
        unimaged="skip",
    )
    made = import_profiles(tmp_path / "profiles.csv.gz", tmp_path / "wells", labels=labels)
    table = read_wells(made).table
    assert table["perturbation"].to_list() == list(genes) * 2
    assert table["gene"].to_list() == list(genes.values()) * 2
    assert table["control"].to_list() == [True, True, False, False, False, False] * 2
    assert set(table["batch"]) == {"source_1"}


def test_metadata_is_joined_to_the_labels_of_the_tables(cells, tmp_path):
    averaged(cells, "mean").to_parquet(tmp_path / "profiles.parquet")
    targets = {"DMSO": None, "C3": "T1", "C4": "T2", "C5": "T1", "C6": "T3"}
    external = pd.DataFrame({"compound": targets.keys(), "Metadata_target": targets.values()})
    external.to_csv(tmp_path / "external.csv", index=False)
    labels = PlateMapSettings(metadata=tmp_path / "external.csv", gene_column="Metadata_target")
    made = import_profiles(tmp_path / "profiles.parquet", tmp_path / "wells", labels=labels)
    table = read_wells(made).table
    expected = [targets[name] for name in table["compound"]]
    assert table["gene"].to_list() == table["Metadata_target"].to_list() == expected


def test_features_that_many_wells_lack_are_listed(cells, tmp_path, capsys):
    table = averaged(cells, "mean")
    table.loc[:2, FEATURES[0]] = [np.nan, np.inf, np.nan]
    table.loc[5, FEATURES[2]] = -np.inf
    table.to_parquet(tmp_path / "a.parquet")
    settings = ImportSettings(max_missing=0.2)
    found = read_wells(import_profiles(tmp_path / "a.parquet", tmp_path / "wells", settings))
    assert found.names == FEATURES[1:]
    assert len(found.table) == 11
    features = pl.read_csv(tmp_path / "wells/left_out_features.csv")
    assert features.rows() == [(FEATURES[0], 3)]
    wells = pl.read_csv(tmp_path / "wells/left_out_wells.csv")
    assert wells.rows() == [(table["Metadata_Plate"][5], table["Metadata_Well"][5])]
    said = capsys.readouterr().err
    assert "1 of 3 features are left out" in said
    assert "1 of 12 wells are left out" in said


def test_the_same_well_in_two_tables(cells, tmp_path):
    table = averaged(cells, "mean")
    table.to_parquet(tmp_path / "one.parquet")
    table[:4].to_csv(tmp_path / "two.csv", index=False)
    tables = [tmp_path / "one.parquet", tmp_path / "two.csv"]
    made = import_profiles(tables, tmp_path / "wells")
    assert len(read_wells(made).table) == 12
    table.loc[1, FEATURES[1]] += 1
    table[:4].to_csv(tmp_path / "two.csv", index=False)
    sentence = "plate P1, well A02 is in the tables twice, with other values: take one out"
    with pytest.raises(ValueError, match=sentence):
        import_profiles(tables, tmp_path / "other")
    assert not (tmp_path / "other").exists()
    assert not (tmp_path / "other.partial").exists()


@pytest.mark.parametrize(
    ("change", "settings", "sentence"),
    [
        ({"drop": "Metadata_Well"}, {}, "has no column 'well' .setting well_column."),
        ({"drop": "Metadata_Plate"}, {}, "has no column of plates .setting plate_column."),
        ({"drop": FEATURES}, {}, "has no features: expected columns of numbers"),
        ({}, {"features": "Mito_"}, "no features: expected columns beginning with Mito_"),
        ({"Metadata_Well": "first"}, {}, "row 1: 'first' is not a well"),
        ({"Metadata_compound": range(72)}, {}, "'Metadata_compound' has several values within a"),
        ({FEATURES[0]: "high"}, {}, "is not a readable table: .*conversion from `str` to `f32`"),
        ({"head": 0}, {}, "has no rows: expected one per well, site or cell"),
        ({FEATURES[0]: np.nan}, {"max_missing": 0.0}, None),
    ],
)
def test_a_table_that_will_not_do(cells, tmp_path, change, settings, sentence):
    if "drop" in change:
        cells = cells.drop(columns=change["drop"])
    elif "head" in change:
        cells = cells[:0]
    else:
        cells = cells.assign(**change)
    cells.to_parquet(tmp_path / "cells.parquet")
    settings = ImportSettings(**settings)
    if sentence is None:  # a feature that is always missing is left out, and nothing else
        found = read_wells(import_profiles(tmp_path / "cells.parquet", tmp_path / "w", settings))
        assert found.names == FEATURES[1:]
        return
    with pytest.raises(ValueError, match=sentence):
        import_profiles(tmp_path / "cells.parquet", tmp_path / "wells", settings)
    assert [path.name for path in tmp_path.iterdir()] == ["cells.parquet"]


def test_tables_that_do_not_go_together(cells, tmp_path):
    table = averaged(cells, "mean")
    table.to_parquet(tmp_path / "one.parquet")
    table.drop(columns=FEATURES[0]).to_parquet(tmp_path / "two.parquet")
    (tmp_path / "P1").mkdir()
    np.savez(tmp_path / "P1/A01_1.npz", features=np.ones((2, 3)))
    for other, sentence in (
        ("two.parquet", "one.parquet has the feature 'Cells_AreaShape_Area' and .*two.parquet has"),
        ("P1/A01_1.npz", "a table with a column per feature and .* of DeepProfiler's .npz files"),
        ("absent.csv", "absent.csv: there is no such table of profiles"),
    ):
        with pytest.raises(ValueError, match=sentence):
            import_profiles([tmp_path / "one.parquet", tmp_path / other], tmp_path / "wells")
    (tmp_path / "note.docx").write_text("")
    with pytest.raises(ValueError, match=r"note.docx is no table of profiles: expected .parquet"):
        import_profiles(tmp_path / "note.docx", tmp_path / "wells")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty has no tables: expected files of .parquet"):
        import_profiles(tmp_path / "empty", tmp_path / "wells")


@pytest.mark.parametrize("name", ["a.parquet", "a.csv.gz", "a.h5ad"])
def test_a_damaged_table(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x1f\x8bnothing")
    with pytest.raises(ValueError, match=r"is not a readable (table|\.h5ad file):"):
        import_profiles(tmp_path / name, tmp_path / "wells")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"rows": "dishes"}, "rows must be one of wells, sites, cells, not dishes"),
        ({"statistic": "mode"}, "statistic must be one of mean, median, not mode"),
        ({"max_missing": 5}, "max_missing must be from 0 to 1, not 5"),
        ({"features": "Cells_,"}, "features must be prefixes such as Cells_,Nuclei_"),
    ],
)
def test_settings_that_will_not_do(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        ImportSettings(**settings)


def test_the_same_command_finds_its_wells(cells, tmp_path, capsys):
    path = tmp_path / "cells.parquet"
    cells.to_parquet(path)
    first = read_wells(import_profiles(path, tmp_path / "wells")).identity
    import_profiles(path, tmp_path / "wells")
    assert "is already there, made with the same settings" in capsys.readouterr().err
    with pytest.raises(ValueError, match="another setting: statistic = 'mean', now 'median'"):
        import_profiles(path, tmp_path / "wells", ImportSettings(statistic="median"))
    moved = Path(shutil.copy(path, tmp_path / "other.parquet"))
    assert read_wells(import_profiles(moved, tmp_path / "again")).identity == first
