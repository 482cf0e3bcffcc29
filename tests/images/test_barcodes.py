"""Barcode tables: each plate gets the plate map that is listed for its barcode."""

from pathlib import Path

import pytest

from phenomae.images.platemap.plate_map import find_plate_map, read_plate_map
from phenomae.images.platemap.settings import PlateMapSettings

BARCODES = "Assay_Plate_Barcode,Plate_Map_Name\nBR1,crispr\nBR2,compound\nBR3,crispr\nBR9,gone\n"


@pytest.fixture
def metadata(tmp_path: Path) -> Path:
    """A folder as JUMP and pycytominer have it."""
    (tmp_path / "barcode_platemap.csv").write_text(BARCODES)
    maps = tmp_path / "platemap"
    maps.mkdir()
    (maps / "crispr.txt").write_text("well_position\tbroad_sample\na1\tBRDN1\nA2\t\n")
    (maps / "compound.csv").write_text("well_position,broad_sample,solvent\nA1,BRD-K1,DMSO\n")
    return tmp_path


def read(folder: Path, *plates: str, **settings):
    chosen = PlateMapSettings(barcode_map=Path("barcode_platemap.csv"), **settings)
    path = find_plate_map(folder, chosen)
    assert path == folder / "barcode_platemap.csv"
    return read_plate_map(path, chosen, plates)


def test_plates_have_the_maps_of_their_barcodes(metadata: Path, capsys):
    table = read(metadata, "BR1", "BR2", "BR3", "BR4")
    assert table.select("plate", "well", "perturbation").rows() == [
        ("BR1", "A01", "BRDN1"),
        ("BR1", "A02", None),
        ("BR2", "A01", "BRD-K1"),
        ("BR3", "A01", "BRDN1"),
        ("BR3", "A02", None),
    ]
    printed = capsys.readouterr().err
    assert "1 of 4 plates have no images here" in printed
    assert "unused columns: solvent" in printed


def test_names_of_plates_are_composed(tmp_path: Path):
    (tmp_path / "one.csv").write_text("well,gene\nA01,PLK1\n")
    barcodes = tmp_path / "barcodes.csv"
    barcodes.write_text("Assay_Plate_Barcode,Plate_Map_Name\nCafe\u0301,one\n")
    settings = PlateMapSettings(barcode_map=barcodes, plate_map=tmp_path)
    assert read_plate_map(barcodes, settings, ["Caf\u00e9"])["plate"].to_list() == ["Caf\u00e9"]


def test_controls_are_looked_for_in_all_maps_together(metadata: Path):
    table = read(metadata, "BR1", "BR2", control_column="solvent", control_label="DMSO")
    assert table["control"].to_list() == [False, False, True]


def test_the_maps_may_lie_elsewhere(metadata: Path, monkeypatch):
    (metadata / "platemap").rename(metadata / "maps")
    with pytest.raises(ValueError, match=r"platemap: there is no such folder of plate maps"):
        read(metadata, "BR1")
    for folder in (Path("maps"), metadata / "maps"):
        assert len(read(metadata, "BR1", plate_map=folder)) == 2


@pytest.mark.parametrize(
    ("text", "plates", "sentence"),
    [
        (
            BARCODES,
            ("X",),
            "names none of the plates that have images: it names BR1, BR2, BR3 and 1",
        ),
        (BARCODES, ("BR9",), r"there is no plate map .*gone\.txt \(set plate_map to"),
        ("Barcode,Map\nBR1,crispr\n", ("BR1",), "no column Assay_Plate_Barcode .*has Barcode, M"),
        ("Assay_Plate_Barcode\nBR1\n", ("BR1",), "no column Plate_Map_Name"),
        (BARCODES + "BR1,compound\n", ("BR1",), "plate BR1 has two plate maps: crispr and comp"),
        (
            BARCODES + "BR4,\n,crispr\n",
            ("BR1",),
            "line 6 names no plate map; line 7 names no plate",
        ),
    ],
)
def test_a_barcode_table_that_is_wrong_is_an_error(metadata: Path, text, plates, sentence):
    (metadata / "barcode_platemap.csv").write_text(text)
    with pytest.raises(ValueError, match=sentence):
        read(metadata, *plates)


def test_a_wrong_well_is_named_by_its_map(metadata: Path):
    (metadata / "platemap/crispr.txt").write_text("well_position\tbroad_sample\nA1\tx\nQ\ty\n")
    with pytest.raises(ValueError, match=r"2 problems: .*crispr.txt, line 3: 'Q' is not a well"):
        read(metadata, "BR1", "BR3")


def test_a_barcode_table_that_is_not_there(tmp_path: Path):
    settings = PlateMapSettings(barcode_map=Path("gone.csv"))
    with pytest.raises(ValueError, match=r"gone.csv: there is no such barcode map, nor in"):
        find_plate_map(tmp_path, settings)
