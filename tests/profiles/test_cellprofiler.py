"""Cells as CellProfiler measures them, joined by CytoTable; RxRx3-core's embeddings."""

from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from pycytominer.cyto_utils import infer_cp_features

from phenomae.images.platemap.settings import PlateMapSettings
from phenomae.profiles.columns import split_columns
from phenomae.profiles.import_profiles import ImportSettings, import_profiles
from phenomae.wells import read_wells

MEASURED = ["AreaShape_Area", "Intensity_MeanIntensity_DNA"]
OBJECTS = ("Cells", "Cytoplasm", "Nuclei")


def joined_cells() -> pl.DataFrame:
    """Cells with the names that CytoTable documents for its joined table of CellProfiler."""
    rng = np.random.default_rng(3)
    image = np.repeat(np.arange(1, 9), 4)  # eight images of four cells, two images a well
    number = np.tile(np.arange(1, 5), 8)
    features = {
        f"{name}_{feature}": rng.normal(size=32) for name in OBJECTS for feature in MEASURED
    }
    return pl.DataFrame(
        {
            "Metadata_ImageNumber": image,
            "Image_Metadata_Plate": "P1",
            "Image_Metadata_Well": [f"A{(at + 1) // 2}" for at in image],
            "Image_FileName_DNA": [f"{at}.tif" for at in image],
            "Metadata_ObjectNumber": number,
            "Metadata_Cytoplasm_Parent_Cells": number,
            "Cells_Number_Object_Number": number,
            **features,
        }
    )


def test_cells_joined_by_cytotable(tmp_path):
    table = joined_cells()
    table.write_parquet(tmp_path / "cells.parquet")
    found = read_wells(import_profiles(tmp_path / "cells.parquet", tmp_path / "wells"))
    names = [f"{name}_{feature}" for name in OBJECTS for feature in MEASURED]
    assert found.names == names
    assert found.table["well"].to_list() == ["A01", "A02", "A03", "A04"]
    assert found.table["sites"].to_list() == [2] * 4
    assert found.table["Metadata_cells"].to_list() == [8] * 4
    expected = table.to_pandas().groupby("Image_Metadata_Well")[names].mean()
    np.testing.assert_allclose(found.features, expected.to_numpy(), rtol=1e-5)


def test_features_are_those_of_pycytominer_but_numbers_of_objects():
    table = joined_cells()
    found = split_columns(Path("t"), table.schema, None).features
    identifiers = {"Cells_Number_Object_Number"}
    assert set(found) == set(infer_cp_features(table.to_pandas())) - identifiers
    only = split_columns(Path("t"), table.schema, ("Nuclei_",)).features
    assert only == [f"Nuclei_{feature}" for feature in MEASURED]


@pytest.mark.slow
def test_cytotable_itself(tmp_path):
    cytotable = pytest.importorskip("cytotable", reason="CytoTable is not installed")
    import duckdb
    import parsl

    try:  # CytoTable loads both for every source
        duckdb.sql("INSTALL sqlite_scanner; INSTALL httpfs")
    except duckdb.IOException:
        pytest.skip("DuckDB cannot download the extensions that CytoTable needs")
    table, source = joined_cells().to_pandas(), tmp_path / "measured"
    source.mkdir()
    # As ExportToSpreadsheet of CellProfiler writes them: one file per object, names without it.
    image = table.groupby("Metadata_ImageNumber").first().reset_index()
    image[["Metadata_ImageNumber", "Image_Metadata_Plate", "Image_Metadata_Well"]].set_axis(
        ["ImageNumber", "Metadata_Plate", "Metadata_Well"], axis=1
    ).to_csv(source / "Image.csv", index=False)
    for name in OBJECTS:
        own = table[[f"{name}_{feature}" for feature in MEASURED]].set_axis(MEASURED, axis=1)
        own.insert(0, "ImageNumber", table["Metadata_ImageNumber"])
        own.insert(1, "ObjectNumber", table["Metadata_ObjectNumber"])
        if name == "Cytoplasm":
            own["Parent_Cells"] = own["Parent_Nuclei"] = table["Metadata_ObjectNumber"]
        own.to_csv(source / f"{name}.csv", index=False)
    out = tmp_path / "joined.parquet"
    cytotable.convert(
        str(source),
        str(out),
        dest_datatype="parquet",
        preset="cellprofiler_csv",
        joins=JOINS,
        parsl_config=parsl.Config(executors=[parsl.ThreadPoolExecutor(label="threads")]),
    )
    found = read_wells(import_profiles(out, tmp_path / "wells"))
    names = [f"{name}_{feature}" for name in OBJECTS for feature in MEASURED]
    assert sorted(found.names or []) == sorted(names)
    expected = table.groupby("Image_Metadata_Well")[found.names].mean()
    np.testing.assert_allclose(found.features, expected.to_numpy(), rtol=1e-5)
    assert found.table["Metadata_cells"].to_list() == [8] * 4
    assert found.table["sites"].to_list() == [2] * 4


# The joins of CytoTable's preset, with plate and well of the image.
JOINS = """
SELECT
    image.Metadata_ImageNumber,
    image.Metadata_Plate,
    image.Metadata_Well,
    cytoplasm.* EXCLUDE (Metadata_ImageNumber),
    cells.* EXCLUDE (Metadata_ImageNumber, Metadata_ObjectNumber),
    nuclei.* EXCLUDE (Metadata_ImageNumber, Metadata_ObjectNumber)
FROM read_parquet('cytoplasm.parquet') AS cytoplasm
LEFT JOIN read_parquet('cells.parquet') AS cells USING (Metadata_ImageNumber)
LEFT JOIN read_parquet('nuclei.parquet') AS nuclei USING (Metadata_ImageNumber)
LEFT JOIN read_parquet('image.parquet') AS image USING (Metadata_ImageNumber)
WHERE
    cells.Metadata_ObjectNumber = cytoplasm.Metadata_Cytoplasm_Parent_Cells
    AND nuclei.Metadata_ObjectNumber = cytoplasm.Metadata_Cytoplasm_Parent_Nuclei
"""


def embeddings_of_rxrx3() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Metadata and embeddings with the columns of RxRx3-core."""
    rows = [
        ("gene-001", 1, "AA02", "TP53", "TP53_guide_1", None, "CRISPR"),
        ("gene-001", 1, "B03", "EMPTY_control", "EMPTY_control", None, "CRISPR"),
        ("compound-002", 3, "B03", None, "Dequalinium", 0.25, "COMPOUND"),
    ]
    names = ["experiment_name", "plate", "address", "gene", "treatment", "concentration"]
    metadata = pd.DataFrame(rows, columns=[*names, "perturbation_type"])
    parts = [metadata["experiment_name"], metadata["plate"].astype(str), metadata["address"]]
    metadata.insert(0, "well_id", parts[0] + "_" + parts[1] + "_" + parts[2])
    vectors = np.random.default_rng(2).normal(size=(3, 4)).astype(np.float32)
    return metadata, pd.DataFrame(vectors, columns=[f"feature_{index}" for index in range(4)])


@pytest.mark.parametrize("is_joined", [True, False])
def test_embeddings_of_rxrx3_core(tmp_path, is_joined):
    metadata, vectors = embeddings_of_rxrx3()
    beside = metadata if is_joined else metadata[["well_id"]]
    pd.concat([beside, vectors], axis=1).to_parquet(tmp_path / "openphenom.parquet")
    metadata.to_csv(tmp_path / "metadata.csv", index=False)
    external = None if is_joined else tmp_path / "metadata.csv"
    labels = PlateMapSettings(metadata=external)
    made = import_profiles(tmp_path / "openphenom.parquet", tmp_path / "wells", labels=labels)
    found = read_wells(made)
    assert found.names is None  # they are only numbered
    plates = ["compound-002_Plate3", "gene-001_Plate1", "gene-001_Plate1"]
    assert found.table["plate"].to_list() == plates
    assert found.table["well"].to_list() == ["B03", "B03", "AA02"]
    by_well = {row["plate"] + row["well"]: row for row in found.table.iter_rows(named=True)}
    dose = by_well["compound-002_Plate3B03"]
    assert (dose["compound"], dose["concentration_um"]) == ("Dequalinium", 0.25)
    assert by_well["gene-001_Plate1AA02"]["guide"] == "TP53_guide_1"
    assert [row["control"] for row in by_well.values()] == [False, True, False]
    np.testing.assert_array_equal(found.features, vectors.to_numpy()[[2, 1, 0]])


def test_rows_that_are_cells_without_a_column_that_tells(tmp_path):
    table = joined_cells().select("^Image_Metadata_.*$", "^Nuclei_.*$")
    table.write_parquet(tmp_path / "cells.parquet")
    with pytest.raises(ValueError, match="plate P1, well A01 is in the tables twice, with other"):
        import_profiles(tmp_path / "cells.parquet", tmp_path / "wells")
    settings = ImportSettings(rows="cells")
    made = import_profiles(tmp_path / "cells.parquet", tmp_path / "wells", settings)
    assert read_wells(made).table["Metadata_cells"].to_list() == [8] * 4
