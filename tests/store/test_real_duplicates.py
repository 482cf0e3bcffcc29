"""A barcode that was imaged twice is an error, one of its imagings, or plates of their own."""

import csv
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tifffile

CHANNELS = ("DNA", "ER")
FIRST, SECOND = "BR1__2021-05-01T10", "BR1__2021-05-03T09"


def level(acquisition: str, well: str, site: int, channel: str) -> int:
    """A grey value of its own for every file."""
    names = [FIRST, SECOND], ["A01", "A02"], [1, 2], list(CHANNELS)
    places = (acquisition, well, site, channel)
    digits = [kind.index(value) + 1 for kind, value in zip(names, places, strict=True)]  # type: ignore[arg-type]
    return int("".join(map(str, digits)))


def expected(acquisition: str, well: str, site: int) -> np.ndarray:
    levels = [level(acquisition, well, site, channel) for channel in CHANNELS]
    return np.broadcast_to(np.array(levels)[:, None, None], (2, 130, 140))


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Plate BR1 imaged twice, in two folders, told by one LoadData CSV; and BR2, imaged once.

    Of the second imaging the well A02 has one site only.
    """
    raw, rows = tmp_path / "raw", []
    fields = [(well, site) for well in ("A01", "A02") for site in (1, 2)]
    for acquisition in (SECOND, FIRST):
        (raw / acquisition).mkdir(parents=True)
        for well, site in fields[:3] if acquisition == SECOND else fields:
            names = [f"{well}_s{site}_{channel}.tif" for channel in CHANNELS]
            for name, channel in zip(names, CHANNELS, strict=True):
                grey = level(acquisition, well, site, channel)
                tifffile.imwrite(raw / acquisition / name, np.full((130, 140), grey, np.uint16))
            rows.append(["BR1", well, site, *names, *[acquisition] * 2])
    shutil.copytree(raw / FIRST, raw / "BR2")
    rows.append(["BR2", *rows[-1][1:-2], "BR2", "BR2"])
    columns = [f"{part}_Orig{channel}" for part in ("FileName", "PathName") for channel in CHANNELS]
    with open(raw / "load_data.csv", "w", newline="") as file:
        csv.writer(file).writerows(
            [["Metadata_Plate", "Metadata_Well", "Metadata_Site", *columns], *rows]
        )
    return raw


def check(stored: dict[tuple[str, str, int], np.ndarray], plates: dict[str, str]) -> None:
    """Compare the fields of plates with those of the imagings they are said to be."""
    assert {plate for plate, _, _ in stored} == {*plates, "BR2"}
    for (plate, well, site), pixels in stored.items():
        if plate in plates:
            np.testing.assert_array_equal(pixels, expected(plates[plate], well, site))


def test_it_is_an_error_that_names_both_files_of_each_field(raw, refused):
    said = refused(raw, "--layout", "loaddata")
    assert "plate BR1, well A01, site 1, channel DNA has two files: " in said
    assert f"{raw}/{SECOND}/A01_s1_DNA.tif" in said
    assert f"{raw}/{FIRST}/A01_s1_DNA.tif" in said
    assert said.count("wrong: plate BR1") == 3
    assert "(--duplicates: first, last or apart" in said


def test_its_first_or_last_imaging_counts(raw, ingested):
    stored = ingested(raw, "--layout", "loaddata", "--duplicates", "first")
    assert len(stored) == 4 + 1
    check(stored, {"BR1": FIRST})


def test_a_field_that_was_imaged_once_is_no_duplicate(raw, ingested):
    stored = ingested(raw, "--layout", "loaddata", "--duplicates", "last")
    assert len(stored) == 4 + 1
    np.testing.assert_array_equal(stored["BR1", "A02", 1], expected(SECOND, "A02", 1))
    np.testing.assert_array_equal(stored["BR1", "A02", 2], expected(FIRST, "A02", 2))


def test_imagings_apart_are_plates_of_their_own(raw, tmp_path, ingested):
    stored = ingested(raw, "--layout", "loaddata", "--duplicates", "apart")
    check(stored, {"BR1": FIRST, "BR1-2": SECOND})
    table = pl.read_parquet(tmp_path / "store/fields.parquet")
    assert table["plate"].to_list() == ["BR1"] * 4 + ["BR1-2"] * 3 + ["BR2"]


def test_skipping_leaves_out_what_was_imaged_twice_and_lists_it(raw, tmp_path, ingested):
    stored = ingested(raw, "--layout", "loaddata", "--on-bad", "skip")
    assert set(stored) == {("BR1", "A02", 2), ("BR2", "A02", 2)}
    report = pl.read_csv(tmp_path / "store/ingest-report.csv")
    assert report.select("plate", "well", "site").rows() == [
        ("BR1", "A01", 1),
        ("BR1", "A01", 2),
        ("BR1", "A02", 1),
    ]


@pytest.mark.parametrize("policy", ["first", "last"])
def test_two_measurements_of_a_phenix_plate(shared, tmp_path, ingested, policy):
    """One barcode in two folders, as Harmony names them; pixels of the second are lower by 1."""
    original = shared / "data/images/phenix_pe2loaddata/Version1/images"
    names = [
        "BR00121482__2021-03-29T16_48_13-Measurement 1",
        "BR00121482__2021-04-01-Measurement 2",
    ]
    for name in names:
        shutil.copytree(original, tmp_path / "raw" / name / "Images")
    for path in (tmp_path / "raw" / names[1] / "Images").glob("*.tiff"):
        tifffile.imwrite(path, tifffile.imread(path) - 1)
    flags = ["--layout", "phenix", "--channels", "HOECHST 33342", "--duplicates", policy]
    (pixels,) = ingested(tmp_path / "raw", *flags).values()
    stain = original / "r01c01f01p01-ch5sk1fk1fl1.tiff"
    np.testing.assert_array_equal(pixels[0], tifffile.imread(stain) - (policy == "last"))
