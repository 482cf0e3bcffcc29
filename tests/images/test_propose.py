"""Folders without a known layout: a pattern is proposed that reads them, or they are named."""

import json
import re
from pathlib import Path

import pytest

from phenomae.images.layouts.named_patterns import NAMED_PATTERNS
from phenomae.images.read import list_fields
from phenomae.images.settings import LayoutSettings

WELLS = ("A01", "B02", "B11")


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def refusal(raw: Path) -> str:
    with pytest.raises(ValueError, match=r"\S") as caught:
        list_fields(raw)
    return str(caught.value)


def proposed(raw: Path) -> str:
    match = re.search(r"the pattern '(.*)'(?: with plate_(?:size|name))? reads", refusal(raw))
    assert match is not None, refusal(raw)
    return match[1]


# Kinds of names below whose pattern has a name.
NAMED = {
    "Phenix": "phenix-names",
    "Operetta": "phenix-names",
    "CellVoyager": "cellvoyager-names",
    "CQ1": "cq1",
    "ScanR": "scanr",
    "ScanR without labels": "scanr",
    "ImageXpress": "imagexpress-names",
    "ArrayScan": "cellomics",
    "IN Cell": "incell",
}


def numbered(well: str, columns: int = 12) -> int:
    return (ord(well[0]) - 65) * columns + int(well[1:])


def rows(well: str) -> str:
    return f"r{ord(well[0]) - 64:02d}c{well[1:]}"


# Two sites and two channels of each well, and how the channels are called.
NAMES = {
    "Phenix": ("{rows}f{site:02d}p01-ch{n}sk1fk1fl1.tiff", "1", "2"),
    "Operetta": ("Images/{rows}f{site}p1-ch{n}.tiff", "1", "2"),
    "CellVoyager": ("AP_{well}_T0001F{site:03d}L01A0{n}Z01C0{n}.tif", "01", "02"),
    "CQ1": ("P7/Image/W{number:04d}F{site:04d}T0001Z001C{n}.tif", "1", "2"),
    "ScanR": (
        "data/{short}--W{number:05d}--P{site:05d}--Z00000--T00000--{name}.tif", "DAPI", "GFP",
    ),
    "ScanR without labels": (
        "--W{number:05d}--P{site:05d}--Z00000--T00000--{name}.tif", "DAPI", "GFP",
    ),
    "ImageXpress": ("x_{well}_s{site}_w{n}AA11BB22-0000-4000-8000-00000000000{n}.tif", "1", "2"),
    "ArrayScan": ("MFGTMP_140206180002_{well}f{site:02d}d{n}.TIF", "1", "2"),
    "IN Cell": ("{row} - {column}(fld {site} wv {name} - {name}).tif", "DAPI - DAPI", "GFP - GFP"),
    "Cytation": ("{short}_02_1_{site}_{name}_001.tif", "DAPI", "GFP"),
    "RxRx": ("{well}_s{site}_w{n}.png", "1", "2"),
    "BBBC013": ("Channel{n}-{number:02d}-{row}-{column}.tif", "Channel1", "Channel2"),
    "by hand": ("plate 1/{well}_s{site}_{name}.tif", "DAPI", "GFP"),
    "by hand, channel first": ("{name}-{well}-f{site}.png", "DAPI", "GFP"),
    "with dates": ("20240131 exp7 {short} field{site} z1 ch{n}.tif", "1", "2"),
    "folders of channels": ("{name}/{well}_{site:03d}.tif", "DAPI", "GFP"),
    "numbers together": ("my_plate.{well}.s{site}w{n}.tiff", "1", "2"),
}  # fmt: skip


@pytest.mark.parametrize("kind", NAMES)
def test_the_proposal_reads_every_image_as_what_it_is(tmp_path: Path, kind: str):
    form, *channels = NAMES[kind]
    sites = (1,) if kind in ("BBBC013",) else (1, 2)
    expected = {}
    for well in WELLS:
        for site in sites:
            for n, channel in enumerate(channels, start=1):
                name = form.format(
                    well=well, short=f"{well[0]}{int(well[1:])}", row=well[0], column=well[1:],
                    rows=rows(well), number=numbered(well), site=site, n=n,
                    name=("DAPI", "GFP")[n - 1],
                )  # fmt: skip
                touch(tmp_path, name)
                expected[str(tmp_path / name)] = (well, channel, site)
    touch(tmp_path, "notes.txt", "._x.tif")
    sentence = refusal(tmp_path)
    count = len(expected)
    assert f"{tmp_path} has no known layout; it has {count} images, such as '" in sentence
    assert sentence.endswith(f" reads {count} of them")
    shown = re.findall(r"such as '(.*?)', '(.*?)', '(.*?)': the pattern", sentence)
    assert all((tmp_path / name).exists() for name in shown[0])
    also = {}
    if kind in ("CQ1", "ScanR without labels"):
        also = {"plate_size": 96}
    elif kind == "folders of channels":
        also = {"plate_name": "P"}
    assert re.findall(r"' with (\w+) reads", sentence) == list(also)
    assert (proposed(tmp_path) in NAMED_PATTERNS) == (kind in NAMED)
    assert NAMED.get(kind) in (None, proposed(tmp_path))
    plates = list_fields(tmp_path, LayoutSettings(pattern=proposed(tmp_path), **also))
    assert not plates.skipped
    found = {
        image.planes[0].url: (field.well, channel, field.site)
        for field in plates.fields
        for channel, image in zip(plates.channels, field.images, strict=True)
    }
    assert found == expected


GRID = [(well, site, n) for well in ("A01", "A02", "B01") for site in (1, 2) for n in (1, 2, 3)]


@pytest.mark.parametrize(
    "form",
    [
        "screen_c{n}_{well}_s{site}.tif",
        "c{n}_{well}_s{site}.tif",
        "d{n}_f{site}_{well}.tif",
        "P1_{well}_s{site}_c{n}.tif",
        "e1_{short}_s{site}_c{n}.tif",
        "f{site}_{lower}_c{n}.tif",
        "{lower}_f{site}_d{n}.tif",
    ],
)
def test_the_well_is_told_from_what_looks_like_one(tmp_path: Path, form: str):
    """Channels, sites and plates that are a letter and a number stand before or behind the well."""
    expected = {}
    for well, site, n in GRID:
        short = f"{well[0]}{int(well[1:])}"
        name = form.format(well=well, short=short, lower=short.lower(), site=site, n=n)
        touch(tmp_path, name)
        expected[str(tmp_path / name)] = (well, site, str(n))
    plates = list_fields(tmp_path, LayoutSettings(pattern=proposed(tmp_path)))
    assert not plates.skipped
    assert expected == {
        image.planes[0].url: (field.well, field.site, channel)
        for field in plates.fields
        for channel, image in zip(plates.channels, field.images, strict=True)
    }


@pytest.mark.parametrize(
    "form",
    ["f{site}/{well}_c{n}.tif", "Site {site}/{well}_c{n}.tif", "{well}/{well}_s{site}_c{n}.tif"],
)
def test_a_folder_of_a_well_or_site_is_no_plate(tmp_path: Path, form: str):
    touch(tmp_path, *(form.format(well=well, site=site, n=n) for well, site, n in GRID))
    assert refusal(tmp_path).endswith("whose names the setting pattern can describe")


def test_a_layout_that_is_named_and_not_there(tmp_path: Path):
    """Phenix images that were copied without their index."""
    raw = touch(tmp_path, *(f"r01c0{c}f01p01-ch{n}sk1fk1fl1.tiff" for c in (1, 2) for n in (1, 2)))
    with pytest.raises(
        ValueError, match=r"does not have the layout phenix; it has 4 images"
    ) as its:
        list_fields(raw, LayoutSettings(layout="phenix"))
    assert str(its.value).endswith("reads 4 of them")


def test_images_beside_masks_are_read(tmp_path: Path):
    raw = touch(tmp_path, *(f"images/{w}_s1_w{n}.tif" for w in WELLS for n in (1, 2)))
    touch(tmp_path, *(f"masks/{w}_s1_w1_{kind}.tiff" for w in WELLS for kind in ("a", "b")))
    plates = list_fields(raw, LayoutSettings(pattern=proposed(raw)))
    assert len(plates.fields) == 3


PLATES = {
    "plates of experiments": (
        ["HRCE-1/Plate1", "HRCE-2/Plate1"],
        ["HRCE-1_Plate1", "HRCE-2_Plate1"],
        "(?P<plate_1>[^/]+)/(?P<plate_2>[^/]+)/(?P<well>[A-Z]{1,2}\\d+)_s",
    ),
    "one folder in each plate": (
        ["P1/raw", "P2/raw"],
        ["P1", "P2"],
        "(?P<plate>[^/]+)/raw/(?P<well>[A-Z]{1,2}\\d+)_s",
    ),
    "one folder a plate": (["x/P1", "x/P2"], ["P1", "P2"], "(?P<well>[A-Z]{1,2}\\d+)_s"),
}


@pytest.mark.parametrize("kind", PLATES)
@pytest.mark.parametrize("same_wells", [True, False])
def test_folders_name_the_plate(tmp_path: Path, kind: str, same_wells: bool):
    """Wells of rows A to AF, as on plates of 1536; also if the plates have no well in common."""
    folders, names, start = PLATES[kind]
    wells = [["B02", "AF48"], ["B02", "AF48"] if same_wells else ["B03", "Q03"]]
    for folder, its in zip(folders, wells, strict=True):
        touch(tmp_path, *(f"{folder}/{well}_s1_w{n}.png" for well in its for n in (1, 2)))
    pattern = proposed(tmp_path)
    assert pattern.startswith(start)
    assert refusal(tmp_path).endswith("reads 8 of them")
    plates = list_fields(tmp_path, LayoutSettings(pattern=pattern))
    assert {(f.plate, f.well) for f in plates.fields} == {
        (plate, well) for plate, its in zip(names, wells, strict=True) for well in its
    }


def test_folders_of_channels_in_folders_of_plates(tmp_path: Path):
    raw = touch(
        tmp_path, *(f"P{n}/{c}/{w}_001.tif" for n in (1, 2) for c in ("DAPI", "GFP") for w in WELLS)
    )
    plates = list_fields(raw, LayoutSettings(pattern=proposed(raw)))
    assert plates.plate_names == ["P1", "P2"]
    assert plates.channels == ("DAPI", "GFP")


def test_measurements_of_an_instrument_are_two_plates(tmp_path: Path):
    """Harmony's folders; what it calls a plate stands in front of the date."""
    for plate in ("BR1__2020-11-05T19_51_35-Measurement1", "BR2__2020-11-06T19_51_35-Measurement1"):
        touch(tmp_path, *(f"{plate}/Images/r01c01f01p01-ch{n}sk1fk1fl1.tiff" for n in (1, 2)))
    assert proposed(tmp_path) == "phenix-names"
    plates = list_fields(tmp_path, LayoutSettings(pattern="phenix-names"))
    assert plates.plate_names == ["BR1", "BR2"]


def test_the_pattern_that_reads_most_is_proposed(tmp_path: Path):
    """A third of the images has the names of a CQ1; all can be read by their parts."""
    touch(tmp_path, *(f"P/W000{n}F0001T0001Z001C1.tif" for n in (1, 2)))
    touch(tmp_path, *(f"Q/{well}_s1_w{n}.tif" for well in WELLS for n in (1, 2)))
    sentence = refusal(tmp_path)
    assert sentence.endswith("reads 6 of them")
    assert "cq1" not in sentence


@pytest.mark.parametrize(
    "names",
    [
        ("x.tif", "y.tif"),  # no well
        ("A01.tif", "A1.tif", "B02.tif"),  # one well twice
        ("a/HRCE-1/Plate1/B02_s1_w1.png", "b/HRCE-1/Plate1/B02_s1_w1.png"),  # one plate twice
    ],
)
def test_no_pattern_is_proposed_that_would_mix_images(tmp_path: Path, names: tuple[str, ...]):
    sentence = refusal(touch(tmp_path, *names))
    assert "looked for jump_lite_site_index.parquet" in sentence
    assert sentence.endswith(f"{names[-1]!r}, whose names the setting pattern can describe")


def test_a_folder_without_images(tmp_path: Path):
    assert "is empty: looked for jump_lite_site_index.parquet" in refusal(tmp_path)
    sentence = refusal(touch(tmp_path, "notes.txt"))
    assert sentence.startswith(
        f"{tmp_path} has no known layout: looked for jump_lite_site_index.parquet"
    )


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("ImageIndex.ColumbusIDX.xml", "is the index of a Columbus export"),
        ("001001000.flex", "is an Opera .flex file, which is not read: convert it to OME-TIFF"),
        ("a/b/Plate.ND2", "is a Nikon .nd2 file, which is not read: convert it to OME-TIFF"),
        ("screen.lif", "is a Leica .lif file, which is not read"),
        ("plate.czi", "is a Zeiss .czi file, which is not read"),
        ("MFGTMP.C01", "is a Cellomics .c01 file, which is not read"),
    ],
)
def test_formats_that_are_not_read_are_named(tmp_path: Path, name: str, what: str):
    raw = touch(tmp_path, name, "notes.txt")
    assert refusal(raw).startswith(f"{tmp_path / name} {what}")
    assert refusal(raw / name).startswith(f"{tmp_path / name} {what}")


def test_a_columbus_export_whose_names_can_be_read(tmp_path: Path):
    touch(
        tmp_path, "ImageIndex.ColumbusIDX.xml", *(f"{w}_s1_w{n}.tif" for w in WELLS for n in "12")
    )
    sentence = refusal(tmp_path)
    assert "is the index of a Columbus export, which is not read" in sentence
    assert sentence.endswith("reads 6 of them")


PLATE = {"plate": {"version": "0.4", "wells": []}}


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        (".zattrs", PLATE, "an OME-Zarr plate"),
        ("zarr.json", {"attributes": {"ome": PLATE}, "node_type": "group"}, "an OME-Zarr plate"),
        (".zattrs", {"multiscales": []}, "an OME-Zarr image"),
        ("zarr.json", {"node_type": "group"}, "a Zarr group"),
    ],
)
@pytest.mark.parametrize("below", ["", "data/plate 1.zarr"])
def test_zarr_is_named(tmp_path: Path, name: str, content: dict, what: str, below: str):
    folder = tmp_path / below
    touch(folder, name, "A/01/0/0/0.0.0")
    (folder / name).write_text(json.dumps(content))
    sentence = " that lists no wells" if "plate" in what else ", and no plate, so nothing says of"
    assert refusal(tmp_path).startswith(f"{folder} is {what}{sentence}")
