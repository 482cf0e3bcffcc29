"""`metadata`: a table of samples, as JUMP's external_metadata, joined to the plate map."""

from pathlib import Path

import pandas as pd
import pytest

from phenomae.images.platemap.plate_map import hash_sources, read_plate_map
from phenomae.images.platemap.settings import PlateMapSettings
from phenomae.whole_files import sha256_of

MAP = "well_position\tbroad_sample\nA01\tS1\nA02\tS2\nA03\t\nB01\tS3\nB02\tS1\n"
SAMPLES = (
    "broad_sample\tgenes\tcontrol_type\tpert_type\n"
    "S1\tPLK1\t\ttrt\nS2\t\tnegcon\tcontrol\n\t\t\t\nS3\tTP53\tposcon_orf\tcontrol\nS9\tKRAS\t\ttrt\n"
)


def read(folder: Path, plate_map: str, samples: str, **settings: str):
    (folder / "map.txt").write_text(plate_map)
    (folder / "samples.tsv").write_text(samples)
    chosen = PlateMapSettings(metadata="samples.tsv", **settings)  # type: ignore[arg-type]
    return read_plate_map(folder / "map.txt", chosen, ["P1"])


def test_genes_and_controls_are_those_of_the_samples(tmp_path, capsys):
    table = read(tmp_path, MAP, SAMPLES, gene_column="genes")
    # The oracle: the merge that pycytominer's users write.
    frames = [pd.read_csv(tmp_path / name, sep="\t") for name in ("map.txt", "samples.tsv")]
    merged = frames[0].merge(frames[1].dropna(how="all"), on="broad_sample", how="left")
    assert table["gene"].to_list() == merged["genes"].where(merged["genes"].notna(), None).to_list()
    assert table["control"].to_list() == (merged["control_type"] == "negcon").to_list()
    assert table["perturbation"].to_list() == ["S1", "S2", None, "S3", "S1"]
    printed = capsys.readouterr().err
    assert "samples.tsv: joined to" in printed
    assert "map.txt: no broad_sample of" in printed
    assert "samples.tsv in 1 of 5 rows: an empty cell" in printed
    assert "samples.tsv: 1 of 4 rows are of no well of" in printed
    assert "unused columns: pert_type" in printed


def test_a_row_without_a_sample_describes_the_wells_without_one(tmp_path, capsys):
    # As in JUMP-Target: the wells with the solvent have no sample.
    samples = SAMPLES.replace("\n\t\t\t\n", "\n\t\tnegcon\tcontrol\n").replace(
        "S2\t\tnegcon", "S2\t\t"
    )
    table = read(tmp_path, MAP, samples)
    assert table["control"].to_list() == [False, False, True, False, False]
    assert "no broad_sample of" not in capsys.readouterr().err


def test_names_are_compared_without_case_and_prefix(tmp_path):
    samples = "Metadata_Broad_Sample,Metadata_Symbol\nS1,PLK1\nS2,KIF11\nS3,TP53\n"
    table = read(tmp_path, MAP, samples)
    assert table["gene"].to_list() == ["PLK1", "KIF11", None, "TP53", "PLK1"]


def test_the_shared_column_is_the_one_that_is_unique_or_that_a_setting_names(tmp_path, capsys):
    plate_map = "well,sample,library,site\nA01,S1,L1,x\nA02,S2,L1,y\n"
    samples = "library,sample,gene\nL1,S1,PLK1\nL1,S2,TP53\n"
    assert read(tmp_path, plate_map, samples)["gene"].to_list() == ["PLK1", "TP53"]
    assert "map.txt by sample" in capsys.readouterr().err
    # Two columns that could be the one.
    both = samples.replace("L1,S2", "L2,S2")
    with pytest.raises(ValueError, match=r"they share library, sample: name the column with the"):
        read(tmp_path, plate_map, both)
    with pytest.raises(ValueError, match=r"has library 'L1' for the sample 'S2', but .* has 'L2'"):
        read(tmp_path, plate_map, both, metadata_column="sample")
    agreeing = plate_map.replace("S2,L1", "S2,L2")
    chosen = read(tmp_path, agreeing, both, metadata_column="Metadata_Sample")
    assert chosen["gene"].to_list() == ["PLK1", "TP53"]
    # A cell that is empty in one of the tables is filled by the other.
    filled = read(tmp_path, plate_map.replace("L1,x", ",x"), samples, batch_column="library")
    assert filled["batch"].to_list() == ["L1", "L1"]


@pytest.mark.parametrize(
    ("samples", "settings", "sentence"),
    [
        (
            "name,gene\nS1,PLK1\n",
            {},
            r"joined to .*map.txt by a shared column, but they share none",
        ),
        (SAMPLES, {"metadata_column": "sample"}, r"share a column 'sample' \(setting metadata_co"),
        (SAMPLES + "S1\tKRAS\t\ttrt\n", {}, r"samples.tsv: two different rows have the broad_sam"),
        (
            SAMPLES + "\t\tnegcon\t\n\tX\t\t\n",
            {"metadata_column": "broad_sample"},
            r"two different rows have the broad_sample ''",
        ),
        ("broad_sample,gene\n", {}, r"samples.tsv has a header but no rows"),
        (
            "broad_sample,gene,Metadata_Gene\nS1,PLK1,PLK1\n",
            {},
            r"samples.tsv has the columns 'gene' and 'Metadata_Gene': remove one of them",
        ),
    ],
)
def test_tables_that_cannot_be_joined(tmp_path, samples, settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        read(tmp_path, MAP, samples, **settings)


def test_rows_that_agree_count_once_and_the_file_must_exist(tmp_path):
    assert read(tmp_path, MAP, SAMPLES + "S1\tPLK1\t\ttrt\n")["control"].sum() == 1
    chosen = PlateMapSettings(metadata="absent.tsv")
    with pytest.raises(ValueError, match=r"absent.tsv: there is no such metadata, nor in"):
        read_plate_map(tmp_path / "map.txt", chosen, ["P1"])
    with pytest.raises(ValueError, match="metadata_column is a column of metadata: set metadata"):
        PlateMapSettings(metadata_column="broad_sample")


def test_samples_of_the_maps_of_several_plates(tmp_path, capsys):
    (tmp_path / "platemap").mkdir()
    (tmp_path / "platemap/one.txt").write_text(MAP)
    (tmp_path / "platemap/two.txt").write_text("well_position\tbroad_sample\nA01\tS9\nA02\tS8\n")
    barcodes = tmp_path / "barcodes.csv"
    barcodes.write_text("Assay_Plate_Barcode,Plate_Map_Name\nB1,one\nB2,two\n")
    (tmp_path / "samples.tsv").write_text(SAMPLES)
    settings = PlateMapSettings(
        barcode_map=barcodes, metadata=tmp_path / "samples.tsv", gene_column="genes"
    )
    table = read_plate_map(barcodes, settings, ["B1", "B2"])
    assert table.filter(plate="B2")["gene"].to_list() == ["KRAS", None]
    assert "in 2 of 7 rows: an empty cell, S8" in capsys.readouterr().err
    hashes = hash_sources(barcodes, settings, ["B1", "B2"])
    assert hashes["metadata"] == sha256_of(tmp_path / "samples.tsv")
    (tmp_path / "platemap/two.txt").write_text("well_position\tbroad_sample\nA01\tS9\nA02\tS7\n")
    changed = hash_sources(barcodes, settings, ["B1", "B2"])
    assert {name for name in hashes if hashes[name] != changed[name]} == {"plate_map"}
