"""Plate maps: columns by any name, controls by label, and wells that do not match the images."""

from dataclasses import replace
from pathlib import Path

import pytest

from phenomae.images.fields import Problem
from phenomae.images.platemap.match import match_wells
from phenomae.images.platemap.plate_map import (
    PLATE_MAP_COLUMNS,
    find_plate_map,
    read_plate_map,
)
from phenomae.images.platemap.settings import PlateMapSettings
from phenomae.images.read import list_fields


def read(tmp_path: Path, text: str, plates: tuple[str, ...] = ("P1",), **settings: str):
    path = tmp_path / "plate_map.csv"
    path.write_text(text)
    return read_plate_map(path, PlateMapSettings(**settings), plates)  # type: ignore[arg-type]


def test_all_columns_have_their_types_even_if_they_are_empty(tmp_path: Path):
    table = read(
        tmp_path, "plate,well,gene,guide,control\nP1,a1,TP53,TP53_1,false\nP1,B12,,,TRUE\n"
    )
    assert dict(table.schema) == PLATE_MAP_COLUMNS
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


WORDS = ("NA", "N/A", "#N/A", "<NA>", "NaN", "nan", "None", "NULL", "null", "-")


@pytest.mark.parametrize("word", WORDS)
def test_words_of_other_programs_for_empty_cells_are_empty(
    tmp_path: Path, word: str, capsys: pytest.CaptureFixture[str]
):
    text = f"well,compound,concentration_um\nA01,taxol,1\nA02,{word},{word}\nA03, {word} ,\n"
    table = read(tmp_path, text)
    assert table["compound"].to_list() == ["taxol", None, None]
    assert table["concentration_um"].to_list() == [1.0, None, None]
    assert f"taken as empty: {word} (3 cells) (setting empty_words)" in capsys.readouterr().err
    kept = read(tmp_path, "well,gene\nA01,NA\nA02,nan\n", empty_words="nan")
    assert kept["gene"].to_list() == ["NA", None]
    assert read(tmp_path, "well,gene\nA01,NA\n", empty_words="")["gene"].to_list() == ["NA"]
    # Words within other words, and in another case, are names.
    assert read(tmp_path, "well,gene\nA01,NANS\nA02,na\n")["gene"].to_list() == ["NANS", "na"]


def test_rows_that_agree_count_once(tmp_path: Path):
    text = "plate,well,site,gene\nP1,A01,1,TP53\nP1,a1,2,TP53\nP1,A02,1,PLK1\n"
    assert read(tmp_path, text)["gene"].to_list() == ["TP53", "PLK1"]
    with pytest.raises(ValueError, match="well A01 is listed twice, with different values"):
        read(tmp_path, text + "P1,A01,3,PLK1\n")


def test_a_line_that_is_wrong_is_named_below_rows_that_are_empty(tmp_path: Path):
    with pytest.raises(ValueError, match="line 4: 'first' is not a well"):
        read(tmp_path, "well,gene\nA01,TP53\n,\nfirst,PLK1\n")


def test_names_are_composed_and_have_no_control_characters(tmp_path: Path):
    assert read(tmp_path, "well,gene\nA01,Cafe\u0301\n")["gene"].to_list() == ["Caf\u00e9"]
    for character in ("\x1b", "\x07", "\x9b"):
        with pytest.raises(ValueError, match=r"plate_map.csv: the column 'gene' has .*TP.*control"):
            read(tmp_path, f"well,gene\nA01,TP{character}[31m53\n")


def test_a_word_for_empty_cells_may_be_the_control_label(tmp_path: Path):
    text = "well,compound,kind\nA01,taxol,trt\nA02,NA,None\n"
    table = read(tmp_path, text, control_column="kind", control_label="None")
    assert table["control"].to_list() == [False, True]
    assert table["compound"].to_list() == ["taxol", None]


def test_labels_of_jump_in_a_column_called_control(tmp_path: Path):
    text = "well,control\nA01,negcon\nA02,trt\nA03,poscon_orf\nA04,\n"
    assert read(tmp_path, text)["control"].to_list() == [True, False, False, False]


@pytest.mark.parametrize(
    ("text", "settings", "sentence"),
    [
        (
            "well,compound,solvent\nA01,,DMSO\nA02,taxol,DMSO\n",
            {"control_column": "solvent", "control_label": "DMSO"},
            "all 2 wells are negative controls, because solvent is 'DMSO' in each: no well is tr",
        ),
        (
            "well,compound\nA01,\nA02,\nA03,\n",
            {"control_column": "compound", "control_label": ""},
            "all 3 wells are negative controls, because compound is '' in each",
        ),
        ("well,control\nA01,1\nA02,true\n", {}, "because control is '1', 'true' in each"),
    ],
)
def test_a_map_of_controls_alone_is_said(tmp_path: Path, text, settings, sentence, capsys):
    assert read(tmp_path, text, **settings)["control"].all()
    assert sentence in capsys.readouterr().err


def test_whole_numbers_may_have_a_fraction_of_zeros(tmp_path: Path):
    text = "Row,Column,gene,control\n1.0,2.0,G,0.0\n2.0,12.00,,1.0\n"
    table = read(tmp_path, text, well_column="Row,Column")
    assert table["well"].to_list() == ["A02", "B12"]
    assert table["control"].to_list() == [False, True]


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
        ("well,gene\nA01,A\na1,B\n", {}, "plate P1, well A01 is listed twice"),
        ("plate,well,gene\nP1,A01,A\nP1,A02,A\nP1,A01,\n", {}, "well A01 is listed twice"),
        ("well\nA01\nA0\n", {}, "line 3: 'A0' is not a well"),
        ("plate,well\nP1,A01\n,A02\n", {}, "no plate in 1 of 2 rows"),
        ("well\nA01\n17\n", {}, r"line 3: '17' is not a well.*\(setting plate_size\)"),
        ("well\n17\n97\n", {"plate_size": 96}, "line 3: '97' is not a well of a plate of 96$"),
        ("well\nI01\n", {"plate_size": 96}, "'I01' is not a well of a plate of 96, whose last"),
        ("r,c\n33,1\n", {"well_column": "r,c", "plate_size": 1536}, "'AG01' is not a well of"),
        ("r,c\nA,\n", {"well_column": "r,c"}, "line 2: row 'A' and column '' are not a well"),
        (
            "a,b,c\n1,2,3\n",
            {"well_column": "a,b,c"},
            "well_column must be Well or Row,Column, not 'a,b,c'",
        ),
        ("well,concentration_um\nA01,NAN\n", {}, "concentration 'NAN' is not a number"),
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
def test_a_plate_map_that_is_wrong_is_an_error(tmp_path, text, settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        read(tmp_path, text, **settings)


def test_a_plate_map_without_plates_needs_one_plate(tmp_path: Path):
    with pytest.raises(ValueError, match=r"no column 'plate'.*images of 2 plates"):
        read(tmp_path, "well\nA01\n", plates=("P1", "P2"))


def test_columns_without_a_use_are_printed_once(tmp_path: Path, capsys):
    read(tmp_path, "well,weather,mood\nA01,fine,good\n")
    printed = capsys.readouterr().err
    assert printed.count("unused columns: weather, mood") == 1
    assert "no column 'control': no well is a negative control" in printed


def test_other_words_for_controls_are_printed(tmp_path: Path, capsys):
    text = "well,control_type\nA01,DMSO\nA02,trt\n"
    read(tmp_path, text)
    printed = capsys.readouterr().err
    assert "no well is a negative control; control_type has DMSO, trt, and not negcon" in printed
    with pytest.raises(ValueError, match=r"contain control_label 'DMSO'; control_type has it"):
        read(tmp_path, text, control_label="DMSO")


def test_the_plate_map_is_found_by_itself_or_by_name(write_screen, tmp_path: Path, monkeypatch):
    def find(start: Path, name: str | None = None) -> Path | None:
        return find_plate_map(start, PlateMapSettings(plate_map=Path(name) if name else None))

    raw = write_screen()
    assert find(raw) == raw / "plate_map.csv"
    assert find(raw / "load_data.csv") == raw / "plate_map.csv"
    assert find(raw, "load_data.csv") == raw / "load_data.csv"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.csv").touch()
    assert find(raw, "here.csv") == Path("here.csv")
    with pytest.raises(ValueError, match="there is no such plate map, nor in"):
        find(raw, "gone.csv")
    with pytest.raises(ValueError, match=r"images is a folder: expected a file \(plate map\)"):
        find(raw, "images")
    (raw / "plate_map.csv").unlink()
    assert find(raw) is None


def test_columns_with_the_names_of_jump(tmp_path: Path, capsys):
    text = (
        "Metadata_Plate,Metadata_Well,Metadata_Batch,Metadata_JCP2022,Metadata_Symbol,"
        "Metadata_pert_iname,Metadata_control_type\n"
        "BR1,A1,B1,JCP2022_800002,non-targeting,x,negcon\nBR1,P24,B1,JCP2022_1,AARS1,y,\n"
        "BR1,P23,B1,JCP2022_2,PLK1,z,poscon_diverse\n"
    )
    table = read(tmp_path, text, plates=("BR1", "BR2"))
    assert table["well"].to_list() == ["A01", "P24", "P23"]
    assert table["batch"].to_list() == ["B1"] * 3
    assert table["perturbation"].to_list() == ["JCP2022_800002", "JCP2022_1", "JCP2022_2"]
    assert table["gene"].to_list() == ["non-targeting", "AARS1", "PLK1"]
    assert table["compound"].to_list() == [None] * 3
    assert table["control"].to_list() == [True, False, False]
    printed = capsys.readouterr().err
    assert "Metadata_Well as well, Metadata_Batch as batch, Metadata_JCP2022 as perturb" in printed
    assert "unused columns: Metadata_pert_iname" in printed


def test_a_type_of_control_that_is_not_negative_makes_no_control(tmp_path: Path):
    # In JUMP's pilots pert_type says `control` of positive controls too.
    table = read(tmp_path, "well_position,broad_sample,pert_type\nA01,B1,control\nA02,B2,trt\n")
    assert table["control"].to_list() == [False, False]
    assert table["perturbation"].to_list() == ["B1", "B2"]
    text = "Well,Metadata_pert_type,Metadata_Gene\nA01,negcon,G\nA02,poscon,\n"
    table = read(tmp_path, text)
    assert table["control"].to_list() == [True, False]
    assert table["gene"].to_list() == ["G", None]


def test_a_column_that_is_found_twice_must_be_set(tmp_path: Path):
    text = "well,Metadata_gene,Metadata_Gene\nA01,G,H\n"
    with pytest.raises(ValueError, match=r"Metadata_gene and Metadata_Gene: choose .*gene_column"):
        read(tmp_path, text)
    assert read(tmp_path, text, gene_column="Metadata_Gene")["gene"].to_list() == ["H"]


def test_an_empty_label_marks_empty_cells_as_controls(tmp_path: Path):
    text = "well,broad_sample\nA01,\nA02,BRD-1\nA03,DMSO\n"
    for label, expected in (("", [True, False, False]), ("DMSO,", [True, False, True])):
        table = read(tmp_path, text, control_column="broad_sample", control_label=label)
        assert table["control"].to_list() == expected


@pytest.mark.parametrize(
    ("head", "cells", "settings"),
    [
        ("well", "b11", {}),
        ("well", "B-011", {}),
        ("well", "23-B-11", {}),
        ("well", "r02c11", {}),
        ("well", "R2C11", {}),
        ("well", "23", {"plate_size": 96}),
        ("well", "B11", {"plate_size": 384}),
        ("Row,Column", "B,11", {"well_column": "Row,Column"}),
        ("Row,Column", "2,11", {"well_column": "Row, Column"}),
        ("c,r", "011,02", {"well_column": "r,c"}),
    ],
)
def test_wells_in_every_spelling(tmp_path: Path, head, cells, settings):
    assert read(tmp_path, f"{head}\n{cells}\n", **settings)["well"].to_list() == ["B11"]


def match(raw: Path, text: str, **settings: str):
    path = raw / "plate_map.csv"
    path.write_text(text)
    plates, chosen = list_fields(raw), PlateMapSettings(**settings)  # type: ignore[arg-type]
    table = read_plate_map(path, chosen, plates.plate_names)
    return match_wells(plates, table, path, chosen)


def test_wells_with_images_that_the_map_lacks(write_screen, capsys):
    raw = write_screen()
    text = "well\nA01\n"
    sentence = "2 problems: plate P1, well A02 has images but is not in .*; plate P1, well B01"
    with pytest.raises(
        ValueError, match=sentence + r".*\(setting unmapped = keep or skip allows it\)"
    ):
        match(raw, text)
    assert len(match(raw, text, unmapped="keep").fields) == 6
    kept = match(raw, text, unmapped="skip")
    assert {field.well for field in kept.fields} == {"A01"}
    assert "left out 4 fields of wells that it does not name" in capsys.readouterr().err
    with pytest.raises(ValueError, match="names none of the wells that have images"):
        match(raw, "well\nH01\n", unmapped="skip", unimaged="skip")


def test_wells_of_the_map_without_images(write_screen):
    raw = write_screen()
    text = "well\nA01\nA02\nB01\nH12\n"
    with pytest.raises(ValueError, match="well H12 is in the plate map but has no images"):
        match(raw, text)
    assert len(match(raw, text, unimaged="skip").fields) == 6


def test_a_well_whose_fields_are_all_bad_was_imaged(write_screen):
    raw = write_screen()
    path = raw / "plate_map.csv"
    plates = list_fields(raw)
    bad = [field for field in plates.fields if field.well == "B01"]
    kept = replace(
        plates,
        fields=tuple(field for field in plates.fields if field not in bad),
        skipped=tuple(Problem("cut short", "P1", "B01", field.site) for field in bad),
    )
    table = read_plate_map(path, PlateMapSettings(), plates.plate_names)
    assert match_wells(kept, table, path, PlateMapSettings()) == kept


def test_plates_have_one_of_the_sizes_there_are():
    with pytest.raises(ValueError, match=r"plate_size must be one of 6, 12, 24, .*, not 100"):
        PlateMapSettings(plate_size=100)  # type: ignore[arg-type]


def test_paths_may_be_text(tmp_path: Path):
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps/m.csv").write_text("well,control\nA01,true\n")
    settings = PlateMapSettings(plate_map="maps/m.csv")
    path = find_plate_map(str(tmp_path), settings)
    assert path == tmp_path / "maps/m.csv"
    assert read_plate_map(str(path), settings, ["P1"])["control"].to_list() == [True]
