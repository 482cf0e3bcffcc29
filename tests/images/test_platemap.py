"""Plate maps: columns by any name, controls by label, and wells that do not match the images."""

from pathlib import Path

import pytest

from phenomae.images.platemap import (
    MAP_COLUMNS,
    PlateMapSettings,
    find_plate_map,
    match_wells,
    read_plate_map,
)
from phenomae.images.read import list_fields


def read(tmp_path: Path, text: str, plates: tuple[str, ...] = ("P1",), **settings: str):
    path = tmp_path / "plate_map.csv"
    path.write_text(text)
    return read_plate_map(path, PlateMapSettings(**settings), plates)  # type: ignore[arg-type]


def test_all_columns_have_their_types_also_where_they_are_empty(tmp_path: Path):
    table = read(
        tmp_path, "plate,well,gene,guide,control\nP1,a1,TP53,TP53_1,false\nP1,B12,,,TRUE\n"
    )
    assert dict(table.schema) == MAP_COLUMNS
    assert table.rows(named=True)[0] == {
        "plate": "P1",
        "well": "A01",
        "batch": None,
        "perturbation": "TP53_1",
        "gene": "TP53",
        "guide": "TP53_1",
        "compound": None,
        "concentration_um": None,
        "control": False,
    }
    assert table.rows()[1] == ("P1", "B12", None, None, None, None, None, None, True)


def test_a_column_that_is_there_twice_but_for_spaces(tmp_path: Path):
    with pytest.raises(ValueError, match=r"plate_map.csv has the column 'well' twice"):
        read(tmp_path, "plate,well,well \nP1,A01,A02\n")


def test_perturbation_is_guide_else_gene_else_compound(tmp_path: Path):
    text = "well,gene,guide,compound\nA01,G,g1,C\nA02,G,,C\nA03,,,C\nA04,,,\n"
    assert read(tmp_path, text)["perturbation"].to_list() == ["g1", "G", "C", None]
    chosen = read(tmp_path, text, perturbation_column="gene,compound")
    assert chosen["perturbation"].to_list() == ["G_C", "G_C", "C", None]
    assert chosen["plate"].to_list() == ["P1"] * 4


def test_a_real_plate_map_with_row_and_column_apart(shared):
    path = shared / "data/images/bbbc013_cellprofiler_sbs96/1049_Metadata.csv"
    settings = PlateMapSettings(
        well_column="Row,Column",
        perturbation_column="SBS_Controls,SBS_Doses",
        control_column="SBS_Controls",
        control_label="-1",
    )
    table = read_plate_map(path, settings, ["bbbc013"])
    assert len(table) == 96
    assert table["control"].sum() == 16
    by_well = {row["well"]: row for row in table.iter_rows(named=True)}
    assert by_well["A12"]["perturbation"] == by_well["E01"]["perturbation"] == "1_10"
    assert by_well["A01"]["perturbation"] == "-1_0"
    assert by_well["C05"]["perturbation"] == "0_3"


def test_tabs_concentrations_and_labels(tmp_path: Path):
    path = tmp_path / "map.tsv"
    path.write_text("Well\tDrug\tuM\nA01\tDMSO\t\nA02\tTaxol\t0.5\nA03\tmock\t\n")
    settings = PlateMapSettings(
        well_column="Well",
        compound_column="Drug",
        concentration_column="uM",
        control_column="Drug",
        control_label="DMSO, mock",
    )
    table = read_plate_map(path, settings, ["P1"])
    assert table["concentration_um"].to_list() == [None, 0.5, None]
    assert table["control"].to_list() == [True, False, True]
    assert table["perturbation"].to_list() == ["DMSO", "Taxol", "mock"]


@pytest.mark.parametrize(
    ("text", "settings", "sentence"),
    [
        ("plate,gene\nP1,G\n", {}, r"no column 'well' \(setting well_column\); it has plate, gene"),
        ("well,Row\nA01,A\n", {"well_column": "Row,Col"}, r"no column 'Col' \(setting well_column"),
        ("well\nA01\n", {"batch_column": "day"}, r"no column 'day' \(setting batch_column"),
        ("well\nA01\na1\n", {}, "plate P1, well A01 comes twice"),
        ("plate,well\nP1,A01\nP1,A02\nP1,A01\n", {}, "plate P1, well A01 comes twice"),
        ("well\nA01\nA0\n", {}, "line 3: 'A0' is not a well"),
        ("plate,well\nP1,A01\n,A02\n", {}, "1 rows name no plate"),
        ("well,concentration_um\nA01,low\n", {}, "concentration 'low' is not a number"),
        ("well,control\nA01,DMSO\n", {}, "control has 'DMSO', .* control_label"),
        (
            "well,control\nA01,DMSO\n",
            {"control_label": "dmso"},
            "no well has the control label",
        ),
        ("well\nA01\n", {"control_label": "DMSO"}, r"no column 'control' \(setting control_col"),
    ],
)
def test_a_plate_map_that_is_wrong_is_told_in_one_sentence(tmp_path, text, settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        read(tmp_path, text, **settings)


def test_a_plate_map_without_plates_needs_one_plate(tmp_path: Path):
    with pytest.raises(ValueError, match=r"no column 'plate'.*images of 2 plates"):
        read(tmp_path, "well\nA01\n", plates=("P1", "P2"))


def test_columns_without_a_use_are_told_once(tmp_path: Path, capsys):
    read(tmp_path, "well,weather,mood\nA01,fine,good\n")
    said = capsys.readouterr().err
    assert said.count("columns that are not used: weather, mood") == 1
    assert "no column 'control': no well counts as a control" in said


def test_where_the_plate_map_is_found(write_screen, tmp_path: Path, monkeypatch):
    raw = write_screen()
    assert find_plate_map(raw, None) == raw / "plate_map.csv"
    assert find_plate_map(raw / "load_data.csv", None) == raw / "plate_map.csv"
    assert find_plate_map(raw, Path("load_data.csv")) == raw / "load_data.csv"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.csv").touch()
    assert find_plate_map(raw, Path("here.csv")) == Path("here.csv")
    with pytest.raises(ValueError, match="there is no such plate map, nor in"):
        find_plate_map(raw, Path("gone.csv"))
    (raw / "plate_map.csv").unlink()
    assert find_plate_map(raw, None) is None


def match(raw: Path, text: str, **settings: str):
    path = raw / "plate_map.csv"
    path.write_text(text)
    screen, chosen = list_fields(raw), PlateMapSettings(**settings)  # type: ignore[arg-type]
    table = read_plate_map(path, chosen, screen.plates)
    return match_wells(screen, table, path, chosen)


def test_wells_with_images_that_the_map_lacks(write_screen):
    raw = write_screen()
    text = "well\nA01\n"
    sentence = "2 problems: plate P1, well A02 has images but is not in .*; plate P1, well B01"
    with pytest.raises(ValueError, match=sentence + r".*\(--unmapped keep or skip allows it\)"):
        match(raw, text)
    assert len(match(raw, text, unmapped="keep").fields) == 6
    assert {field.well for field in match(raw, text, unmapped="skip").fields} == {"A01"}
    with pytest.raises(ValueError, match="names none of the wells that have images"):
        match(raw, "well\nH01\n", unmapped="skip", unimaged="skip")


def test_wells_of_the_map_without_images(write_screen):
    raw = write_screen()
    text = "well\nA01\nA02\nB01\nH12\n"
    with pytest.raises(ValueError, match="well H12 is in the plate map but has no images"):
        match(raw, text)
    assert len(match(raw, text, unimaged="skip").fields) == 6
