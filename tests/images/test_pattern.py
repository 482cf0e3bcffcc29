"""File-name patterns: what their groups mean and what can be wrong with them."""

from pathlib import Path

import pytest

from phenomae.images.fields import parse_well
from phenomae.images.read import LayoutSettings, list_fields, read_headers

FULL = r"(?P<plate>[^/]+)/(?P<well>[A-Z]\d+)_s(?P<site>\d+)_(?P<channel>\w+)\.tiff"


def listed(raw: Path, pattern: str, **settings: str):
    return list_fields(raw, LayoutSettings(pattern=pattern, **settings))


def test_pattern_lists_what_the_csv_lists(write_screen):
    raw = write_screen(plates=("P1", "P2"))
    by_csv, by_pattern = list_fields(raw), listed(raw, FULL)
    assert by_pattern == by_csv
    (raw / "load_data.csv").unlink()
    (raw / "plate_map.csv").unlink()
    assert listed(raw, "images/" + FULL) == by_csv


def test_links_to_plates_are_followed(write_screen, tmp_path: Path):
    raw = write_screen(plates=("P1", "P2"))
    links = tmp_path / "links"
    links.mkdir()
    for plate in ("P2", "P1"):
        (links / plate).symlink_to(raw / "images" / plate)
    assert listed(links, FULL).plates == ["P1", "P2"]
    below = tmp_path / "below"
    below.mkdir()
    (below / "screen").symlink_to(raw)
    assert list_fields(below).plates == ["P1", "P2"]


def test_a_pattern_may_ignore_case(write_screen):
    raw = write_screen()
    assert listed(raw, "(?i)" + FULL.replace("tiff", "TIFF")) == listed(raw, FULL)


def test_settings_of_the_other_layout_are_refused(write_screen):
    raw = write_screen()
    with pytest.raises(ValueError, match="images is for LoadData CSVs: with a pattern RAW holds"):
        list_fields(raw, LayoutSettings(pattern=FULL, images=raw / "images"))
    with pytest.raises(ValueError, match="plate_name is for --pattern: a LoadData CSV names its"):
        list_fields(raw, LayoutSettings(plate_name="P1"))


def test_plate_falls_back_to_setting_then_folder_and_site_to_one(tmp_path: Path):
    folder = tmp_path / "plate 7"
    folder.mkdir()
    for number in (10, 2):
        (folder / f"r02c03-ch{number}.tiff").touch()
    pattern = r"r(?P<row>\d+)c(?P<column>\d+)-ch(?P<channel>\d+)\.tiff"
    screen = listed(tmp_path, pattern)
    assert screen.channels == ("2", "10")
    assert str(screen.fields[0]) == "plate plate 7, well B03, site 1"
    assert listed(tmp_path, pattern, plate_name="X").plates == ["X"]
    assert listed(folder, pattern).plates == ["plate 7"]


@pytest.mark.parametrize(
    ("row", "column", "well"),
    [
        ("1", "1", "A01"),
        ("26", "4", "Z04"),
        ("27", "12", "AA12"),
        ("32", "48", "AF48"),
        ("c", "007", "C07"),
    ],
)
def test_rows_by_letter_or_number(row, column, well):
    assert parse_well(row, column) == well


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        ("(?P<channel>", "is no regular expression"),
        (r"(?P<well>A01)", "no group .*channel"),
        (r"(?P<channel>.)", "either a group .*well"),
        (r"(?P<row>.)(?P<channel>.)", "either a group .*well"),
        (r"(?P<well>.)(?P<row>.)(?P<column>.)(?P<channel>.)", "either a group .*well"),
        (r"(?P<well>.)(?P<chanel>.)", "has a group 'chanel'; groups are plate, well"),
        (r"(?P<well>none)(?P<channel>.)", "no file matches .*; one is 'images/P1/A01_s1_DNA.tiff'"),
        (r"(?P<well>.)(?P<channel>.*)\.tiff", "12 problems: .*'A' is not a well"),
        (r"(?P<well>...)_(?P<site>s.)_(?P<channel>.*)\.tiff", "'s1' is not a site"),
        (r"(?P<well>...)_s(?P<site>.)_(?P<channel>\w)\w*\.tiff", None),
        (r"(?P<well>...)_s._(?P<channel>\w+)\.tiff", "site 1, channel DNA has two files"),
    ],
)
def test_a_pattern_that_is_wrong_is_told_in_one_sentence(write_screen, pattern, sentence):
    raw = write_screen()
    if sentence is None:
        assert listed(raw, pattern).channels == ("D", "E")
        return
    with pytest.raises(ValueError, match=sentence):
        listed(raw, pattern)


def test_a_pattern_needs_a_folder_with_files(write_screen, tmp_path: Path):
    raw = write_screen()
    with pytest.raises(ValueError, match="is a file: a pattern needs a folder"):
        listed(raw / "load_data.csv", FULL)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no files"):
        listed(tmp_path / "empty", FULL)


def test_files_that_do_not_match_are_counted(write_screen, capsys):
    listed(write_screen(), FULL)
    assert "2 files do not match the pattern" in capsys.readouterr().err


def test_real_plate_of_imagexpress(shared):
    raw = shared / "data/images/imagexpress_faim/9987_Plate_3435"
    pattern = r"[^_/]+_(?P<well>[A-H]\d\d)_s(?P<site>\d)_w(?P<channel>\d)\.TIF"
    screen = listed(raw, pattern, plate_name="9987")
    assert (len(screen.fields), screen.channels) == (4, ("1", "2"))
    headers = read_headers(screen, raw, workers=1)
    assert {(header.height, header.width, header.dtype) for header in headers} == {
        (256, 256, "uint16")
    }
