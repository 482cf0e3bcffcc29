"""Named patterns: real file names of instruments, and what each of their parts is."""

import re
from pathlib import Path

import pytest

from phenomae.cli import run
from phenomae.images.fields import Listing, RawFile
from phenomae.images.layouts.named_patterns import NAMED_PATTERNS
from phenomae.images.layouts.pattern import list_pattern
from phenomae.images.read import list_fields
from phenomae.images.settings import LayoutSettings

GUID = "1C78E18A-356E-48EC-B204-3F4379DC43AB"
# Names that manuals, other programs and public data sets show, and by hand what they say: well,
# site, channel, plane, time, and the plate where the name has it.
NAMES = {
    "phenix-names": {
        "r01c01f01p01-ch1sk1fk1fl1.tiff": ("A01", 1, "1", 1, "1", None),
        "r04c17f01p07-ch1sk1fk1fl1.tiff": ("D17", 1, "1", 7, "1", None),
        "r01c01f01p01-ch1sk5fk1fl1.tiff": ("A01", 1, "1", 1, "5", None),
    },
    "imagexpress-names": {
        "Plate1_A01_s1_w1.TIF": ("A01", 1, "1", 1, "", "Plate1"),
        f"PLATE_A01_s1_w1{GUID}.tif": ("A01", 1, "1", 1, "", "PLATE"),
        f"PLATE_A01_s12_w12{GUID}.tif": ("A01", 12, "12", 1, "", "PLATE"),
        "ADSAStaphInfection2_A01_w2247376DD-6ADD-442D-AE47-F54A05F3EA94.tif": (
            "A01", 1, "2", 1, "", "ADSAStaphInfection2",
        ),
        "Act1_Plate10-SP-A8_A01_s1_w3.TIF": ("A01", 1, "3", 1, "", "Act1_Plate10-SP-A8"),
        "ACHN-20X-P009041_B02_s1_w1836B5662-3526-47FE-A453-0D1775E08D17.tif": (
            "B02", 1, "1", 1, "", "ACHN-20X-P009041",
        ),
    },
    "cellomics": {
        "MFGTMP_140206180002_A01f00d0.TIF": ("A01", 0, "0", 1, "", "MFGTMP_140206180002"),
        "AS_09047_050428030001_O14f01d2.TIF": ("O14", 1, "2", 1, "", "AS_09047_050428030001"),
        "A01f01d2.TIF": ("A01", 1, "2", 1, "", None),
        "020506plateruni3t001A01f01d2.TIF": ("A01", 1, "2", 1, "001", "020506platerun"),
        "i3t001A01f01d2.TIF": ("A01", 1, "2", 1, "001", None),
    },
    "scanr": {
        "B2--W00014--P00001--Z00000--T00000--TRITC.tif": ("B02", 1, "TRITC", 0, "00000", None),
        "A1--W00001--P00001--Z00000--T00000--Alexa 488.tif": (
            "A01", 1, "Alexa 488", 0, "00000", None,
        ),
        "--W00088--P00001--Z00000--T00000--nucleus-dapi.tif": (
            "H04", 1, "nucleus-dapi", 0, "00000", None,
        ),
    },
    "incell": {
        "A - 01(fld 1 wv DAPI - DAPI).tif": ("A01", 1, "DAPI - DAPI", 1, "", None),
        "Plate1_B - 01(fld 01 wv 390 - Blue).tif": ("B01", 1, "390 - Blue", 1, "", "Plate1"),
        "Plate1_HA41_B - 01(fld 01 wv 390 - Blue).tif": (
            "B01", 1, "390 - Blue", 1, "", "Plate1_HA41",
        ),
        "A - 03(wv DAPI - DAPI).tif": ("A03", 1, "DAPI - DAPI", 1, "", None),
        "F - 001(fld 01 wv TL-Brightfield - DAPI).tif": (
            "F01", 1, "TL-Brightfield - DAPI", 1, "", None,
        ),
        "A - 01(fld 1 wv Green - dsRed z 3).tif": ("A01", 1, "Green - dsRed", 3, "", None),
        "A - 01(fld 1 wv UV - DAPI z 3 time 2 - 2636ms).tif": ("A01", 1, "UV - DAPI", 3, "2", None),
        "B - 02(fld 01 wv Blue - FITC - time 01 - 0 ms).tif": (
            "B02", 1, "Blue - FITC", 1, "01", None,
        ),
        "C - 6(fld 1 wv TL - Bright field - open z 01).tif": (
            "C06", 1, "TL - Bright field - open", 1, "", None,
        ),
    },
    "cq1": {
        "W0001F0001T0001Z001C1.tif": ("A01", 1, "1", 1, "0001", None),
        "W0262F0001T0001Z000C2.tif": ("K22", 1, "2", 0, "0001", None),
        "W1F001T0001Z01C1.tif": ("A01", 1, "1", 1, "0001", None),
    },
    "cellvoyager-names": {
        "AssayPlate_Greiner_#655090_B02_T0001F004L01A01Z01C01.tif": (
            "B02", 4, "01", 1, "0001", None,
        ),
        "20200812-CardiomyocyteDifferentiation14-Cycle1_B03_T0001F036L01A01Z18C01.png": (
            "B03", 36, "01", 18, "0001", None,
        ),
    },
}  # fmt: skip
CASES = [(name, file) for name, files in NAMES.items() for file in files]


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def listed(raw: Path, pattern: str, **settings) -> Listing:
    return list_pattern(raw, (), LayoutSettings(pattern=pattern, **settings))


def parts(file: RawFile) -> tuple:
    return file.well, file.site, file.channel, file.plane, file.time, file.plate


@pytest.mark.parametrize(("name", "file"), CASES)
def test_a_real_name_is_read_as_what_it_says(tmp_path: Path, name: str, file: str):
    raw = touch(tmp_path, f"plate 7/{file}")
    listing = listed(raw, name, plate_size={"cq1": 384, "scanr": 96}.get(name))
    assert not listing.problems
    (found,) = listing.files
    *expected, plate = NAMES[name][file]
    assert parts(found) == (*expected, plate or "plate 7")


def test_every_pattern_reads_its_own_names_and_no_other_reads_them(tmp_path: Path):
    assert list(NAMES) == list(NAMED_PATTERNS)
    for name, named in NAMED_PATTERNS.items():
        assert set(named.examples) <= set(NAMES[name])
    touch(tmp_path, *(file for _, file in CASES))
    for name, files in NAMES.items():
        listing = listed(tmp_path, name, plate_size=1536)
        assert {Path(file.place.url).name for file in listing.files} == set(files)
        assert listing.ignored == {"files that do not match the pattern": len(CASES) - len(files)}


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("imagexpress-names", f"PLATE_A01_s1_w1_thumb_{GUID}.tif"),
        ("imagexpress-names", "PLATE_A01_s1.tif"),
        ("cellomics", "LiveDead2_Plate_R_p00_0_A01f00d0.TIF"),  # of an EVOS
        ("cellomics", "scan_R_p2_z1_0_B03f01d0.tif"),
        ("cellomics", "MFGTMP_140206180002_A01f00d0.C01"),
        ("incell", "A - 13(fld 2).tif"),
        ("scanr", "A1--W00001--P00001--Z00000--T00000--DAPI.ome.xml"),
    ],
)
def test_names_that_are_not_read(tmp_path: Path, name: str, file: str):
    with pytest.raises(ValueError, match=f"no file matches the pattern '{name}'; files are, for"):
        listed(touch(tmp_path, file), name)


@pytest.mark.parametrize(
    ("name", "file", "expected"),
    [
        # The token rc, which some versions of Harmony write.
        ("phenix-names", "r02c03f04p01rc1-ch2sk1fk1fl1.tiff", ("B03", 4, "2", 1, "1", "P")),
        ("phenix-names", "r32c48f1p1-ch10.tif", ("AF48", 1, "10", 1, "", "P")),
        ("imagexpress-names", "P_AF48_s1_w1.tif", ("AF48", 1, "1", 1, "", "P")),
        ("scanr", "W00014--P00002--Z00003--T00001--DAPI.tif", ("A14", 2, "DAPI", 3, "00001", "P")),
        ("incell", "B - 4(fld 1 wv Cy5 - Cy5- time 3 - 20 ms).tif", (
            "B04", 1, "Cy5 - Cy5", 1, "3", "P",
        )),
    ],
)  # fmt: skip
def test_other_forms_of_the_names(tmp_path: Path, name: str, file: str, expected: tuple):
    (found,) = listed(touch(tmp_path, f"P/{file}"), name, plate_size=1536).files
    assert parts(found) == expected


@pytest.mark.parametrize(
    ("folder", "plate"),
    [
        ("plate 7", "plate 7"),
        ("BR1__2020-11-05T19_51_35-Measurement1/Images", "BR1"),
        ("P7/Image", "P7"),
        ("P7/Projection", "P7"),
        ("P7/data", "P7"),
        ("P7/TimePoint_1/ZStep_2", "P7"),
        ("__x", "__x"),
        ("screen1__P2/Images", "screen1__P2"),
        ("screen1__P2__2020-11-05T19_51_35-Measurement1", "screen1__P2"),
    ],
)
def test_the_plate_is_the_folder_that_is_the_users(tmp_path: Path, folder: str, plate: str):
    raw = touch(tmp_path, f"{folder}/r01c01f01p01-ch1sk1fk1fl1.tiff")
    assert [file.plate for file in listed(raw, "phenix-names").files] == [plate]
    assert [file.plate for file in listed(raw / folder, "phenix-names").files] == [plate]
    assert listed(raw, "phenix-names", plate_name="X").files[0].plate == "X"


@pytest.mark.parametrize("name", ["cq1", "scanr"])
def test_wells_by_number_need_the_size_of_the_plate(tmp_path: Path, name: str):
    file = {"cq1": "W0014F0001T0001Z001C1.tif", "scanr": "W00014--P1--Z0--T0--DAPI.tif"}[name]
    raw = touch(tmp_path, f"P/{file}")
    with pytest.raises(ValueError, match=r"needs the size of the plate \(setting plate_size\)"):
        list_fields(raw, LayoutSettings(pattern=name))
    for size, well in ((96, "B02"), (384, "A14"), (24, "C02")):
        plates = list_fields(raw, LayoutSettings(pattern=name, plate_size=size))
        assert [field.well for field in plates.fields] == [well]
    with pytest.raises(ValueError, match="is not a well of a plate of 12"):
        list_fields(raw, LayoutSettings(pattern=name, plate_size=12))


def test_a_label_of_scanr_goes_before_the_number(tmp_path: Path):
    """Row W of a plate of 1536 looks like a number of a well."""
    raw = touch(tmp_path, "W1--W01057--P00001--Z00000--T00000--DAPI.tif")
    assert [file.well for file in listed(raw, "scanr").files] == ["W01"]


def test_parts_of_a_plates_name_are_joined(tmp_path: Path):
    raw = touch(
        tmp_path,
        "HRCE-1/Plate1/AA02_s2_w3.png",
        "HRCE-1/Plate10/AA02_s2_w3.png",
        "HRCE-2/Plate1/AA02_s2_w3.png",
    )
    name = r"(?P<well>[A-Z]+\d\d)_s(?P<site>\d)_w(?P<channel>\d)\.png"
    pattern = rf"(?P<plate_1>[^/]+)/(?P<plate_2>Plate\d+)/{name}"
    plates = list_fields(raw, LayoutSettings(pattern=pattern))
    assert plates.plate_names == ["HRCE-1_Plate1", "HRCE-1_Plate10", "HRCE-2_Plate1"]
    # In the order of their numbers, not of the path, and without a part that is not there.
    turned = rf"(?P<plate_10>[^/]+)/Plate(?P<plate_2>\d+)/(?P<plate_1>b)?{name}"
    assert {file.plate for file in listed(raw, turned).files} == {
        "1_HRCE-1", "10_HRCE-1", "1_HRCE-2",
    }  # fmt: skip


def test_two_plates_of_one_name_are_an_error(tmp_path: Path):
    raw = touch(tmp_path, "a/1_2/A01_1.tif", "a_1/2/A02_1.tif")
    pattern = r"(?P<plate_1>[^/]+)/(?P<plate_2>[^/]+)/(?P<well>\w\d\d)_(?P<channel>\d)\.tif"
    with pytest.raises(ValueError, match="plates a/1_2 and a_1/2 would both be named a_1_2: choos"):
        listed(raw, pattern)


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        ("phenix", "'phenix' has no groups .*, and is none of the names phenix-names, imagexpress"),
        (
            "(?P<plate>.)(?P<plate_1>.)(?P<well>.)",
            "has the group plate and the group plate_1: call the parts of the plate's name plate_",
        ),
        (
            "(?P<plate_x>.)(?P<well>.)",
            "unknown group 'plate_x'; groups are .*, and plate_1, plate_2, ... for parts of",
        ),
        ("(?P<plate_0>.)(?P<well>.)", "unknown group 'plate_0'"),
    ],
)
def test_a_pattern_that_is_wrong(tmp_path: Path, pattern: str, sentence: str):
    with pytest.raises(ValueError, match=sentence):
        listed(touch(tmp_path, "A01_1.tif"), pattern)


# Number of fields, and channels, of real exports.
REAL = {
    "phenix-names": ("phenix_pe2loaddata/Version1", 1, tuple("123456")),
    "imagexpress-names": ("imagexpress_faim", 4, ("1", "2")),
    "cellvoyager-names": ("cellvoyager_cv8000_layout_only", 12, ("01", "02")),
}


@pytest.mark.parametrize("name", REAL)
def test_real_exports_without_their_index(shared, name: str):
    """Named patterns find the images that the layout of the instrument finds by its index."""
    folder, count, channels = REAL[name]
    raw = shared / "data/images" / folder
    plates = list_fields(raw, LayoutSettings(pattern=name))
    by_index = list_fields(raw, LayoutSettings(layout=name.removesuffix("-names")))
    assert not plates.skipped
    assert len(plates.fields) == count
    assert plates.channels == channels
    # By its index alone the last channel of the Phenix is known as brightfield and left out.
    stains = len(by_index.channels)
    for field, expected in zip(plates.fields, by_index.fields, strict=True):
        assert (field.well, field.site) == (expected.well, expected.site)
        assert field.images[:stains] == expected.images


def test_help_and_docs_list_the_names(capsys):
    assert run(["ingest", "--help"]) == 0
    words = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert f"names: {', '.join(NAMED_PATTERNS)}." in words
    page = (Path(__file__).parents[2] / "docs/images.md").read_text()
    for name, named in NAMED_PATTERNS.items():
        (row,) = re.findall(rf"^\| `{name}` \|.*\| `(.*)` \|$", page, re.MULTILINE)
        assert row in named.examples
