"""Files that are damaged, missing or of another kind: all named at once, or left out and listed."""

import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import polars as pl
import pytest
import tifffile

from phenomae.cli import run

WELLS = ("A01", "A02", "B01", "B02", "C01")
REPORT = ["plate", "well", "site", "problem"]


def claim_a_petabyte(path: Path) -> None:
    """Write a TIFF of 178 bytes whose header speaks of 2^25 x 2^25 pixels of 8 bits."""
    tags = [
        *((256, 4, 1, 2**25), (257, 4, 1, 2**25), (258, 3, 1, 8), (259, 3, 1, 1)),
        *((262, 3, 1, 1), (273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, 2**25), (279, 4, 1, 16)),
    ]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
    path.write_bytes(struct.pack("<2sHI", b"II", 42, 24) + bytes(16) + directory)


def claim_a_petabyte_in_png(path: Path) -> None:
    """Write a PNG whose header speaks of 2^25 x 2^25 pixels."""
    whole = imagecodecs.png_encode(np.zeros((8, 8), np.uint8))
    header = whole[12:16] + struct.pack(">II", 2**25, 2**25) + whole[24:29]
    checked = header + struct.pack(">I", zlib.crc32(header))
    path.write_bytes(whole[:12] + checked + whole[33:])


def spoil_png(path: Path) -> None:
    """Write a PNG whose header is not what its checksum says."""
    whole = bytearray(imagecodecs.png_encode(np.zeros((8, 8), np.uint8)))
    whole[17] ^= 255
    path.write_bytes(whole)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def spoil(path: Path) -> None:
    """Damage what only a decoder notices."""
    tifffile.imwrite(path, tifffile.imread(path), compression="deflate")
    with tifffile.TiffFile(path) as tiff:
        start = tiff.pages.first.dataoffsets[0]
    content = bytearray(path.read_bytes())
    content[start : start + 40] = bytes(40)
    path.write_bytes(content)


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing channel": (lambda path: path.unlink(), "lacks channel ER"),
    "truncated": (cut, "is truncated"),
    "petabyte": (claim_a_petabyte, "claims 33554432 x 33554432 pixels"),
    "petabyte as png": (claim_a_petabyte_in_png, "claims 33554432 x 33554432 pixels"),
    "damaged png": (spoil_png, "its header is damaged"),
    "empty": (lambda path: path.write_bytes(b""), "is not an image of a known format"),
    "a web page": (lambda path: path.write_text("<html>404</html>"), "is not an image of a known"),
    "float": (
        lambda path: tifffile.imwrite(path, np.zeros((150, 130), np.float32)),
        "pixels of type float32",
    ),
    "another size": (
        lambda path: tifffile.imwrite(path, np.zeros((150, 99), np.uint16)),
        "channels of different sizes",
    ),
    "damaged": (spoil, "cannot be decoded"),
}


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Five wells of two sites and two channels."""
    folder, rng = tmp_path / "raw/P1", np.random.default_rng(0)
    folder.mkdir(parents=True)
    for well in WELLS:
        for site in (1, 2):
            for channel in ("DNA", "ER"):
                pixels = rng.poisson(100, (150, 130)).astype(np.uint16)
                tifffile.imwrite(folder / f"{well}_s{site}_{channel}.tif", pixels)
    return tmp_path / "raw"


def read_report(tmp_path: Path) -> pl.DataFrame:
    return pl.read_csv(tmp_path / "store/ingest-report.csv")


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_an_error_or_leaves_its_field_out(raw, tmp_path, ingested, capsys, case):
    before = ingested(raw)
    assert read_report(tmp_path).rows() == []
    spoiling, sentence = BAD[case]
    spoiling(raw / "P1/A02_s2_ER.tif")
    command = ["ingest", str(raw), str(tmp_path / "other"), "--workers", "1", "--quiet"]
    pattern = r"(?P<well>\w\d\d)_s(?P<site>\d)_(?P<channel>\w+)\.tif"
    capsys.readouterr()
    assert run([*command, "--pattern", pattern]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert sentence in said
    assert "(--on-bad skip leaves such fields out" in said
    assert not (tmp_path / "other").exists()
    after = ingested(raw, "--on-bad", "skip", "--overwrite")
    assert set(before) - set(after) == {("P1", "A02", 2)}
    for field, pixels in after.items():
        np.testing.assert_array_equal(pixels, before[field])
    report = read_report(tmp_path)
    assert report.columns == REPORT
    assert report.rows()[0][:3] == ("P1", "A02", 2)
    assert sentence in report["problem"][0]
    assert "left out: fields with 1 problem, listed in ingest-report.csv" in (
        capsys.readouterr().err
    )


def test_all_bad_files_are_named_at_once(raw, tmp_path, refused, ingested):
    cases = [name for name in BAD if name != "damaged"]  # decoding has not begun
    places = [(well, site) for well in WELLS for site in (1, 2)]
    for case, (well, site) in zip(cases, places, strict=False):
        BAD[case][0](raw / f"P1/{well}_s{site}_ER.tif")
    for flags in ([], ["--dry-run"]):
        said = refused(raw, *flags)
        assert said.splitlines()[-1].count(f"{len(cases)} problems: ") == 1
        for case in cases:
            assert BAD[case][1] in said
    ingested(raw, "--on-bad", "skip")
    rows = read_report(tmp_path).sort("well", "site")
    assert rows.select("well", "site").rows() == places[: len(cases)]
    for case, problem in zip(cases, rows["problem"], strict=True):
        assert BAD[case][1] in problem


def test_all_files_that_cannot_be_decoded_are_named_at_once(raw, tmp_path, capsys):
    for name in ("A02_s2_ER", "B01_s1_DNA", "C01_s2_ER"):
        spoil(raw / f"P1/{name}.tif")
    pattern = r"(?P<well>\w\d\d)_s(?P<site>\d)_(?P<channel>\w+)\.tif"
    command = ["ingest", str(raw), str(tmp_path / "store"), "--pattern", pattern]
    assert run(command) == 1
    said = capsys.readouterr().err
    for name in ("A02_s2_ER", "B01_s1_DNA", "C01_s2_ER"):
        assert f"{name}.tif cannot be decoded" in said
    assert not (tmp_path / "store").exists()
    assert run([*command, "--on-bad", "skip"]) == 0
    assert read_report(tmp_path).select("well", "site").rows() == [
        ("A02", 2),
        ("B01", 1),
        ("C01", 2),
    ]
    assert len(pl.read_parquet(tmp_path / "store/fields.parquet")) == 7


def test_a_petabyte_takes_no_memory(raw, refused):
    claim_a_petabyte(raw / "P1/A02_s2_ER.tif")
    claim_a_petabyte_in_png(raw / "P1/B01_s1_ER.tif")
    tracemalloc.start()
    refused(raw)
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()


def test_a_plate_whose_every_field_is_bad_is_left_out_whole(raw, tmp_path, ingested):
    (raw / "P2").mkdir()
    tifffile.imwrite(raw / "P2/A01_s1_DNA.tif", np.ones((150, 130), np.uint16))
    stored = ingested(raw, "--on-bad", "skip")
    assert {plate for plate, _, _ in stored} == {"P1"}
    assert read_report(tmp_path).rows() == [
        ("P2", "A01", 1, "plate P2, well A01, site 1 lacks channel ER")
    ]
    assert not (tmp_path / "store/P2.zarr").exists()


def test_a_screen_of_bad_fields_alone_is_an_error(raw, refused):
    for path in raw.rglob("*_ER.tif"):
        cut(path)
    said = refused(raw, "--on-bad", "skip")
    assert "10 problems: " in said
