"""Index files are found below a folder; plates, channels and folders get unique names."""

import os
from pathlib import Path

import pytest

from phenomae.images.fields import Place, RawFile
from phenomae.images.layouts.index_files import (
    IndexedImage,
    check_file_name,
    check_plate_name,
    find_indices,
    list_images,
    make_files,
    mark_transmitted,
    name_folders,
    unique_channels,
)


def test_indices_are_found_in_any_case_once_and_through_links(tmp_path: Path):
    raw, elsewhere = tmp_path / "raw", tmp_path / "elsewhere"
    for folder in (raw / "b #1", raw / "a", elsewhere):
        folder.mkdir(parents=True)
        (folder / "INDEX.xml").touch()
    (raw / "._index.xml").touch()
    (raw / "a/loop").symlink_to(raw, target_is_directory=True)
    (raw / "linked").symlink_to(elsewhere, target_is_directory=True)

    def is_index(name: str) -> bool:
        return name == "index.xml"

    assert find_indices(raw, is_index) == [
        raw / "a/INDEX.xml",
        raw / "b #1/INDEX.xml",
        raw / "linked/INDEX.xml",
    ]
    assert find_indices(raw / "a/INDEX.xml", is_index) == [raw / "a/INDEX.xml"]
    assert find_indices(raw / "._index.xml", is_index) == []


def test_images_are_those_with_the_suffix_of_one(tmp_path: Path):
    for name in ("b.TIF", "a.tiff", "c #2.png", "d.txt", "._e.tif", "f.tif.part"):
        (tmp_path / name).touch()
    assert list_images(tmp_path) == ["a.tiff", "b.TIF", "c #2.png"]
    with pytest.raises(ValueError, match=r"gone cannot be read: No such file"):
        list_images(tmp_path / "gone")


def test_folders_are_named_by_as_many_parts_as_make_them_unique(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = [Path("one/M1"), Path("two/M1"), Path("two/M2"), Path("x/two/M1"), Path(".")]
    assert list(name_folders(folders).values()) == [
        "one/M1",
        f"{tmp_path.name}/two/M1",
        "M2",
        "x/two/M1",
        tmp_path.name,
    ]
    assert name_folders([Path(os.sep)]) == {Path(os.sep): os.sep}


def test_names_that_are_there_twice_get_the_number_of_the_channel():
    assert unique_channels({"1": "DAPI", "2": "Cy5", "3": "DAPI"}) == {
        "1": "DAPI (channel 1)",
        "2": "Cy5",
        "3": "DAPI (channel 3)",
    }


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("BF", "Brightfield", "BF (brightfield)"),
        ("brightfield high", "BrightField", "brightfield high"),
        ("640", "PhaseContrast", "640 (phase contrast)"),
        ("Digital Phase Contrast", "Phase", "Digital Phase Contrast"),
        ("DAPI", "ConfocalFluorescence", "DAPI"),
        ("DAPI", "", "DAPI"),
    ],
)
def test_transmitted_light_is_marked(name: str, kind: str, expected: str):
    assert mark_transmitted(name, kind) == expected


def test_one_plate_name_is_for_one_plate():
    check_plate_name(Path("raw"), None, {"P1", "P2"})
    check_plate_name(Path("raw"), "X", {"P1"})
    with pytest.raises(
        ValueError, match="plate_name is 'X', but raw holds 2 plates: P1, P2; leave"
    ):
        check_plate_name(Path("raw"), "X", {"P2", "P1"})


@pytest.mark.parametrize(
    "name", ["", ".", "../a.tif", "b/../../a.tif", "/etc/a", r"C:\a", r"\\pc\a"]
)
def test_names_that_lead_elsewhere_are_refused(name: str):
    with pytest.raises(ValueError, match="is not the name of a file beside or below the index"):
        check_file_name(name)


def test_names_may_have_folders():
    assert check_file_name("r01c01/a #1.tif") == check_file_name(r"r01c01\a #1.tif")
    assert check_file_name("r01c01/a #1.tif") == "r01c01/a #1.tif"


def test_files_have_the_names_of_their_channels():
    image = IndexedImage("A01", 2, 3, "1", "7", "a #1.tif")
    assert make_files("P", Path("raw"), "M", {"1": "DNA"}, [image]) == [
        RawFile("P", "A01", 2, "DNA", Place("raw/a #1.tif"), 3, "M", time="7")
    ]


def test_folders_called_zarr_are_searched_unless_they_are_zarr_groups(tmp_path: Path):
    for folder in ("plain.zarr", "group.zarr"):
        (tmp_path / folder / "P1").mkdir(parents=True)
        (tmp_path / folder / "P1/index.xml").touch()
    (tmp_path / "group.zarr/.zgroup").touch()
    found = find_indices(tmp_path, lambda name: name == "index.xml")
    assert found == [tmp_path / "plain.zarr/P1/index.xml"]
