"""RxRx1: metadata.csv and PNGs as they are published, in a small copy."""

from pathlib import Path

import imagecodecs
import numpy as np
import pytest

from phenomae.images.fields import Listing
from phenomae.images.layouts.rxrx1 import find_rxrx1, list_rxrx1
from phenomae.images.read import list_fields, read_field, read_headers
from phenomae.images.settings import LayoutSettings
from phenomae.records import PLATE_MAP_COLUMNS

HEAD = "site_id,well_id,cell_type,dataset,experiment,plate,well,site,well_type,sirna,sirna_id\n"
ROWS = (
    "HEPG2-01_1_B02_1,HEPG2-01_1_B02,HEPG2,test,HEPG2-01,1,B02,1,negative_control,EMPTY,1138\n"
    "HEPG2-01_1_B02_2,HEPG2-01_1_B02,HEPG2,test,HEPG2-01,1,B02,2,negative_control,EMPTY,1138\n"
    "HEPG2-01_1_B03_1,HEPG2-01_1_B03,HEPG2,test,HEPG2-01,1,B03,1,positive_control,s15652,1114\n"
    "HUVEC-02_1_B02_1,HUVEC-02_1_B02,HUVEC,train,HUVEC-02,1,B02,1,treatment,s20894,513\n"
    "HUVEC-02_4_B02_1,HUVEC-02_4_B02,HUVEC,train,HUVEC-02,4,B02,1,treatment,s20895,514\n"
)
SITES = ("HEPG2-01/Plate1/B02_s1", "HEPG2-01/Plate1/B02_s2", "HEPG2-01/Plate1/B03_s1")


def pixels(site: int, channel: int) -> np.ndarray:
    return np.full((8, 12), 10 * site + channel, np.uint8)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Two plates of the three that metadata.csv names."""
    (tmp_path / "metadata.csv").write_text(HEAD + ROWS)
    for number, site in enumerate((*SITES, "HUVEC-02/Plate1/B02_s1")):
        for channel in range(1, 7):
            path = tmp_path / "images" / f"{site}_w{channel}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(imagecodecs.png_encode(pixels(number, channel)))
    return tmp_path


def listed(raw: Path, **settings) -> Listing:
    return list_rxrx1(raw, find_rxrx1(raw), LayoutSettings(**settings))


def test_plates_are_distinguished_by_their_experiment(raw: Path):
    listing = listed(raw)
    assert len(listing.files) == 24
    assert {(f.plate, f.well, f.site) for f in listing.files} == {
        ("HEPG2-01_Plate1", "B02", 1),
        ("HEPG2-01_Plate1", "B02", 2),
        ("HEPG2-01_Plate1", "B03", 1),
        ("HUVEC-02_Plate1", "B02", 1),
    }
    assert list(dict.fromkeys(f.channel for f in listing.files)) == [f"w{n}" for n in range(1, 7)]
    first = listing.files[0]
    assert first.place.url == str(raw / "images/HEPG2-01/Plate1/B02_s1_w1.png")
    assert first.acquisition == "HEPG2-01/Plate1"
    assert listing.ignored == {"sites of plates without a folder": 1}
    assert not listing.problems


def test_wells_have_their_sirna_and_their_batch(raw: Path):
    wells = listed(raw).wells
    assert wells is not None
    assert dict(wells.schema) == PLATE_MAP_COLUMNS
    assert wells.rows() == [
        ("HEPG2-01_Plate1", "B02", "HEPG2-01", "EMPTY", None, "EMPTY", None, None, True),
        ("HEPG2-01_Plate1", "B03", "HEPG2-01", "s15652", None, "s15652", None, None, False),
        ("HUVEC-02_Plate1", "B02", "HUVEC-02", "s20894", None, "s20894", None, None, False),
    ]


def test_images_may_lie_beside_the_metadata_or_elsewhere(raw: Path, tmp_path: Path):
    (raw / "images").rename(raw / "pngs")
    elsewhere = listed(raw / "metadata.csv", images=raw / "pngs")
    assert len(elsewhere.files) == 24
    for folder in ("HEPG2-01", "HUVEC-02"):
        (raw / "pngs" / folder).rename(raw / folder)
    beside = listed(raw)
    assert len(beside.files) == 24
    assert beside.files[0].place.url == str(raw / "HEPG2-01/Plate1/B02_s1_w1.png")


def test_from_metadata_to_pixels(raw: Path):
    settings = LayoutSettings(layout="rxrx1", channels="w2=ER,w1=DNA")
    plates = list_fields(raw, settings)
    assert plates.channels == ("ER", "DNA")
    headers, problems = read_headers(plates.fields, workers=1)
    assert not problems
    assert {(h.height, h.width, h.dtype) for h in headers if h} == {(8, 12, "uint8")}
    field = plates.fields[1]
    assert (field.plate, field.well, field.site) == ("HEPG2-01_Plate1", "B02", 2)
    assert np.array_equal(read_field(field), np.stack([pixels(1, 2), pixels(1, 1)]))


def test_auto_knows_the_columns_and_not_the_name_alone(raw: Path, tmp_path: Path):
    assert find_rxrx1(raw) == [raw / "metadata.csv"]
    assert find_rxrx1(raw / "metadata.csv") == [raw / "metadata.csv"]
    assert find_rxrx1(raw / "images") == []
    assert find_rxrx1(raw / "images/HEPG2-01/Plate1/B02_s1_w1.png") == []
    for text in ("", "plate,well\nP,A01\n"):
        (raw / "metadata.csv").write_text(text)
        assert find_rxrx1(raw) == []


def test_images_without_a_row_are_ignored_and_a_row_twice_is_read_once(raw: Path):
    first, second, *_ = ROWS.splitlines(keepends=True)
    (raw / "metadata.csv").write_text(HEAD + first + second + first)
    listing = listed(raw)
    assert listing.ignored == {"images that metadata.csv does not name": 6}
    assert len(set(listing.files)) == 12


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("1,B03,1,", "1,B0,1,", "line 4: 'B0' is not a well"),
        ("1,B03,1,", "1,B03,x,", "line 4: 'x' is not a site"),
        ("HEPG2-01,1,B03", "HEPG2-01,one,B03", "line 4: 'one' is not a plate's number"),
        ("HEPG2-01,1,B03", "../x,1,B03", "line 4: '../x' cannot be the name of a batch"),
        ("positive_control", "poscon", "line 4: 'poscon' is not a well type: expected treatment, "),
        ("1,B03,1,", "1,B04,1,", "images/HEPG2-01/Plate1 has no image of well B04, site 1"),
    ],
)
def test_a_row_that_is_wrong_is_a_problem_and_the_others_are_read(raw: Path, old, new, sentence):
    (raw / "metadata.csv").write_text(HEAD + ROWS.replace(old, new))
    listing = listed(raw)
    (problem,) = listing.problems
    assert sentence in str(problem)
    assert len(listing.files) == 18
    assert listing.wells is not None
    assert len(listing.wells) == 2


def test_a_channel_that_is_missing_is_a_problem(raw: Path):
    (raw / "images/HEPG2-01/Plate1/B03_s1_w4.png").unlink()
    (problem,) = list_fields(raw, LayoutSettings(layout="rxrx1")).skipped
    assert str(problem) == "plate HEPG2-01_Plate1, well B03, site 1 lacks channel w4"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (HEAD.replace("sirna,", "gene,") + ROWS, "no column sirna"),
        (
            HEAD + ROWS.replace("2,negative_control,EMPTY", "2,treatment,s1"),
            r"line 3: plate HEPG2-01_Plate1, well B02 has s1 \(treatment\), but EMPTY",
        ),
        (HEAD + ROWS.splitlines()[4], "has no folder of a plate in .*such as HUVEC-02/Plate4"),
    ],
)
def test_metadata_that_is_wrong_is_an_error(raw: Path, text, sentence):
    (raw / "metadata.csv").write_text(text)
    with pytest.raises(ValueError, match=sentence):
        listed(raw)
