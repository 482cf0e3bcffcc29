"""Profiles made elsewhere become a wells folder."""

import shutil
from pathlib import Path

import anndata
import numpy as np
import polars as pl
import pytest

from phenomae.records import WELL_COLUMNS
from phenomae.wells import Wells, open_wells, read_wells, require_finite, write_wells


def profiles() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "plate": ["P2", "P1", "P1"],
            "well": ["a1", "B02", "B3"],
            "gene": ["PLK1", None, "KIF11"],
            "guide": ["s1", None, None],
            "control": [False, True, False],
            "score": [0.5, 1.5, 2.5],
            "area": [1, 2, 3],
        }
    )


def test_a_table_is_read_back_plate_by_plate(tmp_path):
    write_wells(tmp_path / "wells", profiles(), ["score", "area"])
    wells = read_wells(tmp_path / "wells")
    assert wells.table.schema == pl.Schema(WELL_COLUMNS)
    assert wells.table["plate"].to_list() == ["P1", "P1", "P2"]
    assert wells.table["well"].to_list() == ["B02", "B03", "A01"]
    assert wells.table["perturbation"].to_list() == [None, "KIF11", "s1"]
    np.testing.assert_array_equal(wells.features, [[1.5, 2], [2.5, 3], [0.5, 1]])


def test_names_are_written_as_ingest_reads_them(tmp_path, capsys):
    names = ["taxol", " taxol ", "taxol\u00a0", "", "Caf\u00e9", "Cafe\u0301", "\u03b2-estradiol"]
    table = pl.DataFrame(
        {
            "plate": "P1",
            "well": [f"A{number:02d}" for number in range(1, 8)],
            "compound": names,
            "concentration_um": [1.0, float("nan"), None, 2.0, 3.0, 4.0, 5.0],
            "control": False,
            "score": 1.0,
        }
    )
    write_wells(tmp_path / "wells", table, ["score"])
    wells = read_wells(tmp_path / "wells").table
    expected = ["taxol", "taxol", "taxol", None, "Caf\u00e9", "Caf\u00e9", "\u03b2-estradiol"]
    assert wells["compound"].to_list() == expected
    assert wells["concentration_um"].to_list() == [1.0, None, None, 2.0, 3.0, 4.0, 5.0]
    assert "3 names of compound were written without blanks" in capsys.readouterr().err


def test_words_for_empty_cells_are_empty_as_in_plate_maps(tmp_path, capsys):
    table = profiles().with_columns(compound=pl.Series(["NA", "nan", "NANS"]), guide=pl.lit("-"))
    write_wells(tmp_path / "wells", table, ["score"])
    wells = read_wells(tmp_path / "wells").table
    assert wells["compound"].to_list() == [None, "NANS", None]
    assert wells["guide"].is_null().all()
    said = "the table of wells: taken as empty: NA (1 cell), nan (1 cell), - (3 cells)"
    assert said in capsys.readouterr().err
    write_wells(tmp_path / "kept", table, ["score"], empty_words="-")
    assert read_wells(tmp_path / "kept").table["compound"].to_list() == ["nan", "NANS", "NA"]
    dose = table.with_columns(concentration_um=pl.Series(["1.5", "NA", "2"]))
    write_wells(tmp_path / "dose", dose, ["score"])
    assert read_wells(tmp_path / "dose").table["concentration_um"].to_list() == [None, 2, 1.5]


@pytest.mark.parametrize("character", ["\x00", "\x1b", "\x07", "\x7f", "\x9b"])
def test_control_characters_in_names_are_refused(tmp_path, character):
    table = profiles().with_columns(gene=pl.lit(f"TP{character}53"))
    with pytest.raises(ValueError, match=r"the column 'gene' has .*, with a control character"):
        write_wells(tmp_path / "wells", table, ["score"])
    assert not (tmp_path / "wells").exists()


def test_other_content_is_another_identity(tmp_path):
    write_wells(tmp_path / "one", profiles(), ["score"])
    write_wells(tmp_path / "two", profiles().with_columns(pl.col("score") + 1), ["score"])
    assert read_wells(tmp_path / "one").identity != read_wells(tmp_path / "two").identity
    write_wells(tmp_path / "one", profiles(), ["score"])  # the same work: nothing to do
    with pytest.raises(ValueError, match="another setting: features"):
        write_wells(tmp_path / "one", profiles(), ["area"])


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        (profiles().drop("control"), r"lacks the columns \['control'\]"),
        (profiles().drop("score"), r"lacks the columns \['score'\]"),
        (profiles().with_columns(well=pl.lit("A1")), "plate 'P1', well 'A01' twice"),
        (profiles().with_columns(control=pl.lit(None)), "empty cells in the column 'control'"),
        (profiles().with_columns(well=pl.lit("first")), "'first' is not a well"),
        (profiles().with_columns(control=pl.lit("DMSO")), "control has 'DMSO', which is neither"),
        (
            profiles().with_columns(control=pl.Series(["no", "", "yes"])),
            "empty cells in the column",
        ),
        *(
            (profiles().with_columns(control=pl.Series(numbers)), sentence)
            for numbers, sentence in (
                ([0, 1, 2], "control has '2', which is neither"),
                ([-1, 0, 1], "control has '-1', which is neither"),
                ([1.0, 0.0, float("nan")], "empty cells in the column 'control'"),
            )
        ),
        (profiles().with_columns(score=pl.lit("high")), "'score' is String, not Float32"),
    ],
)
def test_a_table_that_will_not_do(tmp_path, table, sentence):
    with pytest.raises(ValueError, match=sentence):
        write_wells(tmp_path / "wells", table, ["score"])
    assert not list(tmp_path.iterdir())


def test_controls_and_plates_that_are_numbers_or_categories(tmp_path):
    labels = pl.Series(["negcon", "trt", "negcon"], dtype=pl.Categorical)
    for index, control in enumerate((pl.Series([1.0, 0.0, 1.0]), pl.Series([1, 0, 1]), labels)):
        table = profiles().with_columns(control=control, plate=pl.lit(41.0))
        found = read_wells(write_wells(tmp_path / str(index), table, ["score"])).table
        assert found["control"].to_list() == [True, False, True]
        assert found["plate"].to_list() == ["41"] * 3


def test_a_table_of_pandas_is_what_one_of_polars_is(tmp_path):
    one = read_wells(write_wells(tmp_path / "one", profiles(), ["score"]))
    two = read_wells(write_wells(tmp_path / "two", profiles().to_pandas(), ["score"]))
    assert two.table.equals(one.table)
    np.testing.assert_array_equal(two.features, one.features)
    assert two.identity == one.identity
    with pytest.raises(ValueError, match="must be of polars or pandas, not dict"):
        write_wells(tmp_path / "three", {}, ["score"])


def test_a_table_with_the_names_of_pycytominer_is_for_import(tmp_path):
    table = profiles().rename({"plate": "Metadata_Plate"})
    with pytest.raises(ValueError, match=r"lacks the columns \['plate'\].*import_profiles reads"):
        write_wells(tmp_path / "wells", table, ["score"])


def test_a_feature_named_twice_or_like_a_column_of_wells(tmp_path):
    for features in (["score", "score"], ["score", "gene"]):
        with pytest.raises(ValueError, match=f"features names {features[1]!r}, which is there"):
            write_wells(tmp_path / "wells", profiles(), features)


def test_a_well_in_two_files_is_refused(tmp_path, resign):
    write_wells(tmp_path / "wells", profiles(), ["score"])
    shutil.copy(tmp_path / "wells/P1.parquet", tmp_path / "wells/P1 copy.parquet")
    with pytest.raises(ValueError, match=r"wells is damaged: P1 copy.parquet does not belong to"):
        read_wells(tmp_path / "wells")
    resign(tmp_path / "wells")
    with pytest.raises(ValueError, match=r"wells has plate 'P1', well 'B02' twice"):
        read_wells(tmp_path / "wells")


@pytest.mark.parametrize("name", ["control", "feature_0000"])
def test_a_column_that_became_text_is_named(tmp_path, name, resign):
    write_wells(tmp_path / "wells", profiles(), ["score"])
    path = tmp_path / "wells/P1.parquet"
    pl.read_parquet(path).with_columns(pl.lit("False").alias(name)).write_parquet(path)
    resign(tmp_path / "wells")
    with pytest.raises(ValueError, match=rf"P1.parquet: the column '{name}' is String, not "):
        read_wells(tmp_path / "wells")


def test_a_nan_is_named_with_its_well(tmp_path):
    table = profiles().with_columns(score=pl.Series([0.5, float("nan"), None]))
    write_wells(tmp_path / "wells", table, ["area", "score"], max_missing=None)
    sentence = r"wells P1 B02, P1 B03, features score \(2 wells\); leave these wells out, or"
    with pytest.raises(ValueError, match=sentence):
        require_finite(read_wells(tmp_path / "wells"), tmp_path / "wells")


@pytest.mark.parametrize("plate", ["P2", "P[1]"])  # brackets are no pattern
def test_plates_read_one_by_one_are_what_all_at_once_are(tmp_path, plate):
    table = profiles().with_columns(plate=pl.col("plate").replace("P2", plate))
    write_wells(tmp_path / "wells", table, ["score", "area"])
    every, files = read_wells(tmp_path / "wells"), open_wells(tmp_path / "wells")
    assert files.table.equals(every.table)
    assert (files.width, files.identity) == (2, every.identity)
    for name in ("P1", plate):
        rows = every.table["plate"].to_numpy() == name
        np.testing.assert_array_equal(files.read(name), every.features[rows])


def test_a_file_of_two_plates_and_a_plate_in_two_files(tmp_path, resign):
    write_wells(tmp_path / "wells", profiles(), ["score"])
    first, second = (tmp_path / "wells" / f"P{plate}.parquet" for plate in (1, 2))
    table = pl.concat([pl.read_parquet(first), pl.read_parquet(second)])
    table[:1].write_parquet(first)
    table[1:].write_parquet(second)
    resign(tmp_path / "wells")
    files = open_wells(tmp_path / "wells")
    np.testing.assert_array_equal(files.read("P1"), [[1.5], [2.5]])
    np.testing.assert_array_equal(files.read("P2"), [[0.5]])


@pytest.mark.parametrize("read", [read_wells, open_wells])
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda table: table.drop("gene"), r"P1.parquet is not a wells file: .*\['gene'\]"),
        (lambda table: table.drop("feature_0001"), "mixes plates with different numbers of fe"),
        (lambda table: table.with_columns(control=pl.lit("no")), "'control' is String, not Bool"),
        (
            lambda table: table.with_columns(plate=pl.lit("P2"), well=pl.lit("A01"))[:1],
            "A01' twice",
        ),
    ],
)
def test_a_folder_that_will_not_do(tmp_path, read, change, sentence, resign):
    write_wells(tmp_path / "wells", profiles(), ["score", "area"])
    path = tmp_path / "wells/P1.parquet"
    change(pl.read_parquet(path)).write_parquet(path)
    resign(tmp_path / "wells")
    with pytest.raises(ValueError, match=sentence):
        read(tmp_path / "wells")
    path.write_text("no Parquet")
    with pytest.raises(ValueError, match=r"wells is damaged: P1.parquet has changed since"):
        read(tmp_path / "wells")
    resign(tmp_path / "wells")
    with pytest.raises(ValueError, match=r"P1.parquet is not a Parquet file that can be read"):
        read(tmp_path / "wells")
    for file in (tmp_path / "wells").glob("*.parquet"):
        file.unlink()
    with pytest.raises(ValueError, match=r"wells is damaged: P1.parquet is missing"):
        read(tmp_path / "wells")
    resign(tmp_path / "wells")
    with pytest.raises(
        ValueError, match=r"wells holds no plate: expected one .parquet file per plate"
    ):
        read(tmp_path / "wells")


def test_a_folder_without_a_name_is_neither_read_nor_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"^\. cannot be replaced: name a folder to create"):
        write_wells(Path("."), profiles(), ["score"])
    with pytest.raises(ValueError, match=r"^\. holds no wells: artefact.json is missing"):
        read_wells(Path("."))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_phenomae_did_not_make_is_never_replaced(tmp_path, overwrite):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("mine")
    for name in ("folder", "file"):
        with pytest.raises(ValueError, match=f"{name} is there and was not made by phenomae: cho"):
            write_wells(tmp_path / name, profiles(), ["score"], overwrite=overwrite)
    assert (tmp_path / "file").read_text() == "mine"


def test_what_is_written_can_be_opened(tmp_path):
    table = pl.DataFrame(
        {
            "plate": ["P2", "P1", "P1"],
            "well": ["A1", "A1", "A2"],
            "gene": [None, "TP53", None],
            "control": [True, False, True],
            "area": [3.0, 1.0, 2.0],
            "dna": [6.0, 4.0, 5.0],
        }
    )
    wells = write_wells(str(tmp_path / "wells"), table, ["area", "dna"])
    assert repr(wells) == f"Wells('{tmp_path}/wells', 2 plates, 3 wells, 2 features)"
    assert repr(Wells(tmp_path / "absent")) == f"Wells('{tmp_path}/absent')"
    assert write_wells(wells, table, ["area", "dna"]) == wells  # found, and a path itself
    found = wells.to_polars()
    assert found.select("plate", "well", "gene", "control", "area").rows() == [
        ("P1", "A01", "TP53", False, 1.0),
        ("P1", "A02", None, True, 2.0),
        ("P2", "A01", None, True, 3.0),
    ]
    assert wells.to_pandas()["dna"].tolist() == [4.0, 5.0, 6.0]
    wells.to_anndata().write_h5ad(tmp_path / "wells.h5ad")  # text with empty cells, too
    read = anndata.read_h5ad(tmp_path / "wells.h5ad")
    assert read.obs_names.to_list() == ["P1/A01", "P1/A02", "P2/A01"]
    assert read.X.tolist() == [[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]]
    assert read.obs["gene"].tolist()[0] == "TP53"
    assert read.obs["control"].tolist() == [False, True, True]
