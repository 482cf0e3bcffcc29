"""The setting where of ingest: which fields are read, of all layouts."""

from pathlib import Path

import polars as pl
import pytest

from phenomae import cli
from phenomae.images.fields import Listing, Place, Problem, RawFile
from phenomae.images.read import list_fields
from phenomae.images.select_files import select_files
from phenomae.images.settings import LayoutSettings
from phenomae.records import PLATE_MAP_COLUMNS
from phenomae.store.read import open_store


def keys(raw: Path, where: str) -> list[tuple[str, str, int]]:
    fields = list_fields(raw, LayoutSettings(where=where)).fields
    return [(field.plate, field.well, field.site) for field in fields]


def test_plates_wells_and_sites_are_selected(write_screen):
    raw = write_screen(plates=("P1", "P2"))
    assert keys(raw, "plate = 'P2' AND site = 1") == [
        ("P2", "A01", 1),
        ("P2", "A02", 1),
        ("P2", "B01", 1),
    ]
    assert keys(raw, "well LIKE 'B%' AND site > 1") == [("P1", "B01", 2), ("P2", "B01", 2)]


def test_the_images_of_other_fields_are_not_opened(write_screen, tmp_path: Path):
    raw = write_screen(plates=("P1", "P2"))
    for path in (raw / "images/P2").iterdir():
        path.write_bytes(b"")
    words = ["ingest", str(raw), str(tmp_path / "store"), "--unimaged", "skip"]
    assert cli.run([*words, "--where", "plate = 'P1'"]) == 0
    fields = open_store(tmp_path / "store").fields
    assert fields["plate"].unique().to_list() == ["P1"]
    assert fields["gene"].n_unique() == 3
    # The selected fields are what is recorded: the condition that selected them is not.
    assert cli.run([*words, "--where", "plate != 'P2'"]) == 0


def test_columns_of_the_wells_and_of_problems():
    files = [
        RawFile("P1", well, site, "DNA", Place(f"{well}-{site}.tif"))
        for well in ("A01", "B01")
        for site in (1, 2)
    ]
    problems = [
        Problem("no site", "P1", "A01"),
        Problem("bad", "P1", "A01", 3),
        Problem("other", "P1", "B01", 3),
    ]
    wells = pl.DataFrame(
        [("P1", "A01", "B1", None, "TP53", None, None, None, False)],
        PLATE_MAP_COLUMNS,
        orient="row",
    )
    found = select_files(Listing(files, problems=problems, wells=wells), "gene = 'TP53'", Path("R"))
    assert [file.place.url for file in found.files] == ["A01-1.tif", "A01-2.tif"]
    assert [problem.what for problem in found.problems] == ["no site", "bad"]
    assert found.wells is not None
    assert len(found.wells) == 1
    found = select_files(Listing(files, wells=wells), "well = 'B01'", Path("R"))
    assert found.wells is not None
    assert len(found.wells) == 0
    with pytest.raises(ValueError, match="R has no column 'dose'; it has plate, well, site, batch"):
        select_files(Listing(files, wells=wells), "dose > 1", Path("R"))
    with pytest.raises(ValueError, match=r"where .* matches no row of R"):
        select_files(Listing(files), "site = 9", Path("R"))
