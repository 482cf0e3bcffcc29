"""Exports of Harmony that were rearranged, or whose index lacks names."""

from pathlib import Path

import pytest

from phenomae.images.fields import RawPlates
from phenomae.images.read import list_fields
from phenomae.images.settings import LayoutSettings

WELLS = ((1, 1), (2, 3))
IMAGES = [(row, column, channel) for row, column in WELLS for channel in (1, 2)]


def write_index(path: Path, url: str = "r{:02d}c{:02d}f01p01-ch{}sk1fk1fl1.tiff", **how) -> Path:
    """An index of two wells and two channels, the images of which have URLs of this form."""
    names = how.get("names", {1: "DAPI", 2: "GFP"})
    images = ""
    for row, column, channel in IMAGES:
        named = f"<ChannelName>{names[channel]}</ChannelName>" if names else ""
        images += (
            f"<Image><URL>{url.format(row, column, channel)}</URL><Row>{row}</Row>"
            f"<Col>{column}</Col><FieldID>1</FieldID><PlaneID>1</PlaneID>"
            f"<ChannelID>{channel}</ChannelID>{named}{how.get('more', '')}"
            '<ImageResolutionX Unit="m">5E-07</ImageResolutionX></Image>'
        )
    plate = how.get("plate", "P1")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"<EvaluationInputData><Plates><Plate><PlateID>{plate}</PlateID></Plate></Plates>"
        f"<Images>{images}</Images></EvaluationInputData>"
    )
    return path


def touch_images(folder: Path, form: str = "r{:02d}c{:02d}f01p01-ch{}sk1fk1fl1.tiff") -> None:
    for image in IMAGES:
        path = folder / form.format(*image)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def names(plates: RawPlates, folder: Path) -> dict[str, list[str]]:
    """Paths of the images of each well, below `folder`."""
    return {
        field.well: [
            Path(image.planes[0].url).relative_to(folder).as_posix() for image in field.images
        ]
        for field in plates.fields
    }


@pytest.mark.parametrize("below", ["", "Images", "IMAGES", "hs-1234/images_raw", "a/b/c #1"])
@pytest.mark.parametrize("name", ["Index.idx.xml", "Index.ref.xml", "Index.xml"])
def test_images_are_found_below_the_index(tmp_path: Path, name: str, below: str):
    write_index(tmp_path / "M" / name)
    touch_images(tmp_path / "M" / below)
    prefix = f"{below}/" if below else ""
    plates = list_fields(tmp_path)
    assert names(plates, tmp_path / "M") == {
        "A01": [f"{prefix}r01c01f01p01-ch{n}sk1fk1fl1.tiff" for n in (1, 2)],
        "B03": [f"{prefix}r02c03f01p01-ch{n}sk1fk1fl1.tiff" for n in (1, 2)],
    }
    assert plates.pixel_sizes_um == {"P1": 0.5}
    assert not plates.skipped


WELL_FOLDERS = "r{0:02d}c{1:02d}/r{0:02d}c{1:02d}-ch{2}.tiff"
SAME_NAMES = "r{0:02d}c{1:02d}/ch{2}.tiff"


@pytest.mark.parametrize(
    ("url", "form", "below"),
    [
        (WELL_FOLDERS, WELL_FOLDERS, ""),
        (WELL_FOLDERS, WELL_FOLDERS, "images"),
        (WELL_FOLDERS, WELL_FOLDERS, "export 3/raw"),
        (WELL_FOLDERS.replace("/", "\\"), WELL_FOLDERS, "images"),
        ("r{0:02d}c{1:02d}-ch{2}.tiff", WELL_FOLDERS, "images"),  # the index knows no folders
        (SAME_NAMES, SAME_NAMES, "export 3/raw"),
    ],
)
def test_wells_may_have_folders(tmp_path: Path, url: str, form: str, below: str):
    write_index(tmp_path / "Index.xml", url)
    touch_images(tmp_path / below, form)
    found = names(list_fields(tmp_path), tmp_path / below)
    assert found == {
        f"{'AB'[row - 1]}{column:02d}": [form.format(row, column, n) for n in (1, 2)]
        for row, column in WELLS
    }


def test_a_name_that_two_files_have_is_a_problem(tmp_path: Path):
    write_index(tmp_path / "Index.xml", "r{0:02d}c{1:02d}-ch{2}.tiff")
    touch_images(tmp_path / "day 1", WELL_FOLDERS)
    (tmp_path / "day 2").mkdir()
    (tmp_path / "day 2/r01c01-ch2.tiff").touch()
    plates = list_fields(tmp_path)
    assert list(names(plates, tmp_path)) == ["B03"]
    assert str(plates.skipped[0]) == (
        f"{tmp_path / 'Index.xml'}, r01c01-ch2.tiff is in the folder twice, as "
        "day 1/r01c01/r01c01-ch2.tiff and day 2/r01c01-ch2.tiff"
    )


def test_images_that_are_nowhere_are_missing_beside_the_index(tmp_path: Path):
    write_index(tmp_path / "Index.xml")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/x.tiff").touch()
    assert names(list_fields(tmp_path), tmp_path)["A01"] == [
        "r01c01f01p01-ch1sk1fk1fl1.tiff",
        "r01c01f01p01-ch2sk1fk1fl1.tiff",
    ]


def test_channels_without_names_have_their_numbers(tmp_path: Path):
    write_index(tmp_path / "Index.xml", names={}, more="<ChannelType>Fluorescence</ChannelType>")
    touch_images(tmp_path)
    plates = list_fields(tmp_path)
    assert plates.channels == ("1", "2")
    assert plates.pixel_sizes_um == {"P1": 0.5}
    write_index(tmp_path / "Index.xml", names={}, more="<ChannelType>BrightField</ChannelType>")
    assert list_fields(tmp_path).channels == ("1 (brightfield)", "2 (brightfield)")


def test_a_channel_whose_name_changes_case_is_one_channel(tmp_path: Path):
    index = write_index(tmp_path / "Index.xml")
    head, _, tail = index.read_text().rpartition("GFP")
    index.write_text(f"{head}gfp{tail}")
    touch_images(tmp_path)
    assert list_fields(tmp_path).channels == ("DAPI", "GFP")


def test_a_plate_whose_name_cannot_be_a_file_name(tmp_path: Path):
    write_index(tmp_path / "Index.xml", plate="day 1/plate 2")
    touch_images(tmp_path)
    with pytest.raises(ValueError, match=r"cannot be a file name \(setting plate_name gives anot"):
        list_fields(tmp_path)
    plates = list_fields(tmp_path, LayoutSettings(plate_name="day 1 plate 2"))
    assert plates.plate_names == ["day 1 plate 2"]
