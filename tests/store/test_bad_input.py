"""Bad input: one sentence, exit code 1, and nothing left under the final name."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from phenomae.cli import run


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


BLANK = np.zeros((150, 130), np.uint16)
IMAGE = "images/P1/A02_s1_ER.tiff"
CASES: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda raw: (raw / IMAGE).unlink(), f"there is no file {{raw}}/{IMAGE}"),
    "truncated": (lambda raw: cut(raw / IMAGE), f"{IMAGE} is truncated"),
    "no tiff": (
        lambda raw: (raw / IMAGE).write_text("x"),
        f"{IMAGE} is not an image of a known format",
    ),
    "colour": (
        lambda raw: tifffile.imwrite(
            raw / IMAGE, np.stack([BLANK, BLANK, BLANK + 1], -1), photometric="rgb"
        ),
        f"{IMAGE} is a colour image",
    ),
    "pages": (
        lambda raw: tifffile.imwrite(raw / IMAGE, np.stack([BLANK] * 2), photometric="minisblack"),
        f"{IMAGE} has 2 pages",
    ),
    "sizes in a field": (
        lambda raw: tifffile.imwrite(raw / IMAGE, BLANK[:99]),
        "plate P1, well A02, site 1 has channels of different sizes",
    ),
    "types in a field": (
        lambda raw: tifffile.imwrite(raw / IMAGE, BLANK.astype(np.uint8)),
        "plate P1, well A02, site 1 has channels of different sizes or types",
    ),
    "channel absent": (
        lambda raw: edit(raw / "load_data.csv", "A02_s1_ER.tiff", ""),
        "plate P1, well A02, site 1 lacks channel ER",
    ),
    "two files for a channel": (
        lambda raw: edit(raw / "load_data.csv", "P1,A02,2,", "P1,A02,1,"),
        "plate P1, well A02, site 1, channel DNA has two files",
    ),
    "map lacks wells": (
        lambda raw: edit(raw / "plate_map.csv", "P1,A02,GENE1,GENE1_1,False\n", ""),
        "plate P1, well A02 has images but is not in the plate map",
    ),
    "images lack wells": (
        lambda raw: edit(raw / "plate_map.csv", "P1,A02", "P1,H01,,,\nP1,A02"),
        "plate P1, well H01 is in the plate map but has no images",
    ),
    "duplicate wells": (
        lambda raw: edit(raw / "plate_map.csv", "P1,A02", "P1,A01"),
        "plate P1, well A01 is listed twice",
    ),
    "no images": (lambda raw: (raw / "load_data.csv").unlink(), "has no known layout"),
}


@pytest.mark.parametrize("case", CASES)
def test_one_sentence_and_nothing_left(write_screen, tmp_path, capsys, case):
    raw = write_screen()
    change, sentence = CASES[case]
    change(raw)
    for flags in ([], ["--dry-run"]):
        assert run(["ingest", str(raw), str(tmp_path / "store"), "--quiet", *flags]) == 1
        captured = capsys.readouterr()
        assert sentence.format(raw=raw) in captured.err
        assert captured.err.count("\n") == 1
        if not flags:
            assert captured.out == ""
        assert not list(tmp_path.glob("store*"))


def test_an_empty_folder(tmp_path, capsys):
    (tmp_path / "raw").mkdir()
    assert run(["ingest", str(tmp_path / "raw"), str(tmp_path / "store")]) == 1
    assert "load_data*.csv or a table with FileName_ columns (loaddata)" in capsys.readouterr().err


def test_a_control_label_nobody_has_with_and_without_a_map(write_screen, tmp_path, capsys):
    raw = write_screen()
    command = ["ingest", str(raw), str(tmp_path / "store"), "--control-label", "DMSO"]
    assert run(command) == 1
    assert "no well has the control label 'DMSO' in control" in capsys.readouterr().err
    (raw / "plate_map.csv").unlink()
    assert run(command) == 1
    assert "--control-label 'DMSO' needs a plate map" in capsys.readouterr().err


def test_types_that_differ_between_fields_and_between_plates(write_screen, tmp_path, capsys):
    raw = write_screen(plates=("P1", "P2"))
    command = ["ingest", str(raw), str(tmp_path / "store")]
    for path in (raw / "images/P2").iterdir():
        tifffile.imwrite(path, BLANK.astype(np.uint8))
    assert run(command) == 1
    said = capsys.readouterr().err
    assert "plate P2 is uint8, but plate P1 is uint16" in said
    assert "convert all to 8 bits (bits = 8)" in said
    assert run([*command, "--bits", "8"]) == 0
    for path in (raw / "images/P1").glob("A02_s2*"):
        tifffile.imwrite(path, BLANK.astype(np.uint8))
    assert run([*command, "--bits", "8", "--overwrite"]) == 1
    assert "well A02, site 2 is uint8, but plate P1, well A01, site 1 is" in capsys.readouterr().err


def test_damage_that_only_decoding_shows_leaves_no_store(write_screen, tmp_path, capsys):
    raw = write_screen()
    pixels = tifffile.imread(raw / IMAGE)
    tifffile.imwrite(raw / IMAGE, pixels, compression="deflate")
    with tifffile.TiffFile(raw / IMAGE) as tiff:
        start = tiff.pages.first.dataoffsets[0]
    whole = (raw / IMAGE).read_bytes()
    (raw / IMAGE).write_bytes(whole[:start] + bytes(40) + whole[start + 40 :])
    command = ["ingest", str(raw), str(tmp_path / "store"), "--window-fields", "1"]
    assert run(command) == 1
    assert f"{IMAGE} cannot be decoded" in capsys.readouterr().err
    assert not (tmp_path / "store").exists()
    (raw / IMAGE).write_bytes(whole)
    assert run(command) == 0
