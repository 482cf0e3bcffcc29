"""Plates of which no image can be decoded: named, or left out of a store that is whole without."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import polars as pl
import pytest
import tifffile

from phenomae.cli import run

BITS = pytest.mark.parametrize("bits", ["8", "16"])


def spoil(paths: Iterable[Path]) -> None:
    """Make images whose header is right and whose pixels cannot be decoded."""
    for path in paths:
        tifffile.imwrite(path, tifffile.imread(path), compression="deflate")
        with tifffile.TiffFile(path) as tiff:
            start, count = tiff.pages.first.dataoffsets[0], tiff.pages.first.databytecounts[0]
        content = path.read_bytes()
        path.write_bytes(content[:start] + b"\xff" * count + content[start + count :])


@BITS
def test_one_of_two_plates_is_left_out_and_told(bits, write_screen, tmp_path, capsys):
    raw, store = write_screen(plates=("P1", "P2")), tmp_path / "store"
    spoil((raw / "images/P1").iterdir())
    command = ["ingest", str(raw), str(store), "--bits", bits]
    assert run(command) == 1
    said = capsys.readouterr().err
    assert said.count("wrong: ") == said.count("_DNA.tiff cannot be decoded") - 4 == 6
    assert not store.exists()
    assert run([*command, "--on-bad", "skip"]) == 0
    table, report = (
        pl.read_parquet(store / "fields.parquet"),
        pl.read_csv(store / "ingest-report.csv"),
    )
    assert set(table["plate"]) == {"P2"}
    assert report.select("plate", "well", "site").rows() == [
        ("P1", well, site) for well in ("A01", "A02", "B01") for site in (1, 2)
    ]
    assert run(["store", "check", str(store)]) == 0


@BITS
@pytest.mark.parametrize("policy", ["error", "skip"])
def test_a_store_without_a_field_is_none(policy, bits, write_screen, tmp_path, capsys):
    raw, store = write_screen(), tmp_path / "store"
    spoil((raw / "images/P1").iterdir())
    command = ["ingest", str(raw), str(store), "--bits", bits, "--on-bad", policy, "--quiet"]
    assert run(command) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"phenomae: {raw}: 6 problems: {raw}/images/P1/A01_s1_DNA.tiff cannot")
    assert said.count("\n") == 1
    assert not store.exists()


@BITS
def test_windows_that_no_field_tells_are_asked_for(bits, write_screen, tmp_path, capsys):
    raw = write_screen()
    names = [f"P1/{well}/{site}" for well in ("A01", "A02", "B01") for site in (1, 2)]
    _, well, site = min(names, key=lambda name: hashlib.sha256(name.encode()).digest()).split("/")
    spoil((raw / "images/P1").glob(f"{well}_s{site}_*"))
    command = ["ingest", str(raw), str(tmp_path / "store"), "--bits", bits, "--on-bad", "skip"]
    assert run([*command, "--window-fields", "1", "--quiet"]) == 1
    said = capsys.readouterr().err
    assert "plate P1: no field sampled for its intensity windows (--window-fields 1)" in said
    assert "increase --window-fields" in said
    # Other windows are another store: what the first try left is not gone on from.
    assert run([*command, "--window-fields", "2", "--overwrite"]) == 0
