"""Files with several pages: OME-TIFF, ImageJ hyperstacks, pages without metadata, series."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from phenomae.images.fields import RawPlates
from phenomae.images.read import list_fields, read_field, read_headers
from phenomae.images.settings import LayoutSettings
from phenomae.store.ingest import ingest
from phenomae.store.inventory import IngestSettings
from phenomae.store.read import open_store
from phenomae.store.read import read_field as read_stored

PATTERN = r"(?P<plate>P\d)/(?P<well>[A-H]\d\d)_s(?P<site>\d)\.tif"
NAMED = PATTERN.replace(r"\.tif", r"_(?P<channel>\w+)\.tif")
RNG = np.random.default_rng(0)
# Time points, planes, channels: what no page has in common with another.
STACK = RNG.integers(0, 60000, (2, 3, 4, 20, 30), dtype=np.uint16)


def write(raw: Path, name: str, pixels: np.ndarray, **how: Any) -> Path:
    path = raw / name
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, pixels, photometric="minisblack", **how)
    return raw


def listed(raw: Path, pattern: str = PATTERN, **settings: Any) -> RawPlates:
    return list_fields(raw, LayoutSettings(pattern=pattern, **settings))


def as_ome(path: Path, pixels: np.ndarray, axes: str, names: list[str] | None = None) -> None:
    channels = {"Channel": {"Name": names}} if names else {}
    metadata = {"axes": axes, **channels}
    tifffile.imwrite(path, pixels, photometric="minisblack", ome=True, metadata=metadata)


def as_imagej(path: Path, pixels: np.ndarray, axes: str, names: list[str] | None = None) -> None:
    labels = {"Labels": names * (len(pixels) * pixels.shape[1])} if names else {}
    tifffile.imwrite(path, pixels, imagej=True, metadata={"axes": axes, **labels})


def as_axes(path: Path, pixels: np.ndarray, axes: str, names: list[str] | None = None) -> None:
    tifffile.imwrite(path, pixels, photometric="minisblack", metadata={"axes": axes})


NAMES = ["DNA", "ER", "Mito #2", "AGP"]
NUMBERS = ["1", "2", "3", "4"]


@pytest.mark.parametrize(
    ("write_stack", "names", "expected"),
    [
        (as_ome, NAMES, NAMES),
        (as_ome, None, NUMBERS),
        (as_imagej, NAMES, NAMES),
        (as_imagej, None, NUMBERS),
        (as_axes, None, NUMBERS),
    ],
)
def test_a_hyperstack_has_channels_planes_and_time_points(
    tmp_path: Path, write_stack, names: list[str] | None, expected: list[str]
):
    for site in (1, 2):
        path = tmp_path / f"P1/B07_s{site}.tif"
        path.parent.mkdir(exist_ok=True)
        write_stack(path, STACK + site, "TZCYX", names)
    assert "imaged at 2 time points (1, 2)" in str(listed(tmp_path).skipped[0])
    plates = listed(tmp_path, time_point="2")
    assert plates.channels == tuple(expected)
    for site, field in enumerate(plates.fields, start=1):
        assert (field.plate, field.well, field.site) == ("P1", "B07", site)
        np.testing.assert_array_equal(read_field(field), (STACK[1] + site).max(axis=0))
    (field, _) = listed(tmp_path, time_point="1", plane="3").fields
    np.testing.assert_array_equal(read_field(field), STACK[0, 2] + 1)
    (headers, _), problems = read_headers(plates.fields, workers=1)
    assert headers is not None
    assert (headers.height, headers.width, headers.dtype, problems) == (20, 30, "uint16", [])


@pytest.mark.parametrize("axes", ["CZYX", "ZCYX", "CTYX"])
def test_axes_come_in_any_order(tmp_path: Path, axes: str):
    """OME-XML tells the order; the first axis is the slowest."""
    (tmp_path / "P1").mkdir()
    as_ome(tmp_path / "P1/A01_s1.tif", STACK[0], axes, ["A", "B", "C", "D"][: 3 + axes.find("C")])
    (field,) = listed(tmp_path, time_point="3" if "T" in axes else None, plane="2").fields
    found = read_field(field)
    by_axes = {"CZYX": STACK[0][:, 1], "ZCYX": STACK[0][1], "CTYX": STACK[0][:, 2]}
    np.testing.assert_array_equal(found, by_axes[axes])


def test_a_channel_of_the_name_comes_before_those_of_the_file(tmp_path: Path):
    (tmp_path / "P1").mkdir()
    for camera in ("left", "right"):
        as_ome(tmp_path / f"P1/A01_s1_{camera}.tif", STACK[0, :1, :2], "ZCYX", ["DNA", "ER"])
    plates = listed(tmp_path, NAMED)
    assert plates.channels == ("left DNA", "left ER", "right DNA", "right ER")
    assert listed(tmp_path, NAMED, channels="right ER=ER").channels == ("ER",)


def test_planes_of_one_channel_keep_the_channel_of_the_name(tmp_path: Path):
    (tmp_path / "P1").mkdir()
    as_imagej(tmp_path / "P1/A01_s1_DNA.tif", STACK[0, :, :1], "ZCYX")
    plates = listed(tmp_path, NAMED)
    assert plates.channels == ("DNA",)
    np.testing.assert_array_equal(read_field(plates.fields[0])[0], STACK[0, :, 0].max(axis=0))


def test_labels_that_are_names_of_files_are_no_names_of_channels(tmp_path: Path):
    (tmp_path / "P1").mkdir()
    for well in ("A01", "A02"):
        labels = [f"{well}_DNA.tif", f"{well}_ER.tif"]
        as_imagej(tmp_path / f"P1/{well}_s1.tif", STACK[0, :1, :2], "ZCYX", labels)
    assert listed(tmp_path).channels == ("1", "2")


@pytest.mark.parametrize("names", [["DNA", "DNA"], ["DNA", ""], ["DNA", "E\x9bR"]])
@pytest.mark.parametrize("write_stack", [as_ome, as_imagej])
def test_names_that_cannot_be_used_are_replaced_by_numbers(tmp_path: Path, write_stack, names):
    """One name for two, none, and one with a control character of terminals."""
    (tmp_path / "P1").mkdir()
    write_stack(tmp_path / "P1/A01_s1.tif", STACK[:1, :1, :2], "TZCYX", names)
    assert listed(tmp_path).channels == ("1", "2")


@pytest.mark.parametrize(
    ("meaning", "channels", "expected"),
    [("auto", "123", STACK[0, :, 0]), ("channel", "123", STACK[0, :, 0]),
     ("plane", "1", STACK[0, :, 0].max(axis=0)[None])],
)  # fmt: skip
def test_pages_without_metadata(tmp_path: Path, meaning: str, channels: str, expected: np.ndarray):
    write(tmp_path, "P1/A01_s1.tif", STACK[0, :, 0], metadata=None)
    plates = listed(tmp_path, pages=meaning)
    assert plates.channels == tuple(channels)
    np.testing.assert_array_equal(read_field(plates.fields[0]), expected)
    write(tmp_path, "Q/P2/A01_s1_DNA.tif", STACK[0, :, 0], metadata=None)
    as_ome(tmp_path / "Q/P2/A02_s1_DNA.tif", STACK[0, :, 0], "ZYX")
    named = listed(tmp_path / "Q", NAMED, pages=meaning)
    if meaning == "auto":
        assert [str(problem) for problem in named.skipped] == [
            f"{tmp_path / 'Q/P2/A01_s1_DNA.tif'} has 3 pages and no metadata that say what they "
            "are (setting pages: channel, plane or time)"
        ]
    else:
        np.testing.assert_array_equal(read_field(named.fields[0]), expected)


def test_the_setting_comes_before_the_metadata(tmp_path: Path):
    """Slices of a hyperstack may be channels that someone put into a stack."""
    (tmp_path / "P1").mkdir()
    as_imagej(tmp_path / "P1/A01_s1.tif", STACK[0, :, :1], "ZCYX")
    assert listed(tmp_path).channels == ("1",)
    plates = listed(tmp_path, pages="channel")
    assert plates.channels == ("1", "2", "3")
    np.testing.assert_array_equal(read_field(plates.fields[0]), STACK[0, :, 0])
    times = listed(tmp_path, pages="time", time_point="last")
    np.testing.assert_array_equal(read_field(times.fields[0])[0], STACK[0, 2, 0])


def test_slices_of_a_plain_imagej_stack_need_a_meaning(tmp_path: Path):
    """ImageJ calls the images of any stack slices: planes, or dyes put into one stack."""
    for well in ("A01", "A02"):
        text = "ImageJ=1.54f\nimages=3\nslices=3\nloop=false\n"
        write(tmp_path, f"P1/{well}_s1.tif", STACK[0, :, 0], description=text, metadata=None)
    with pytest.raises(ValueError, match=r"A01_s1\.tif is an ImageJ stack that is no hyperstack"):
        listed(tmp_path)
    (field, _) = listed(tmp_path, pages="channel").fields
    np.testing.assert_array_equal(read_field(field), STACK[0, :, 0])
    (field, _) = listed(tmp_path, pages="plane").fields
    np.testing.assert_array_equal(read_field(field)[0], STACK[0, :, 0].max(axis=0))


def test_thumbnails_are_no_pages_of_a_stack(tmp_path: Path):
    (tmp_path / "P1").mkdir()
    with tifffile.TiffWriter(tmp_path / "P1/A01_s1.tif") as tiff:
        for page in STACK[0, 0, :2]:
            tiff.write(page, metadata=None)
            tiff.write(page[::4, ::4].copy(), subfiletype=1, metadata=None)
    np.testing.assert_array_equal(read_field(listed(tmp_path).fields[0]), STACK[0, 0, :2])


def test_a_file_of_several_is_known_by_the_last_file_too(tmp_path: Path):
    """The first was cut short after its first page."""
    (tmp_path / "P1").mkdir()
    write(tmp_path, "P1/A01_s1.tif", STACK[0, 0, 0])
    for well in ("A02", "A03"):
        as_ome(tmp_path / f"P1/{well}_s1.tif", STACK[0, 0, :2], "CYX")
    plates = listed(tmp_path)
    assert [field.well for field in plates.fields] == ["A02", "A03"]
    assert [str(problem) for problem in plates.skipped] == [
        "plate P1, well A01, site 1 lacks channel 2"
    ]


def test_pages_need_a_channel(tmp_path: Path):
    write(tmp_path, "P1/A01_s1.tif", STACK[0, 0, 0])
    with pytest.raises(ValueError, match=r"nothing names the channel of .*A01_s1\.tif: the patter"):
        listed(tmp_path)


def write_series(path: Path) -> None:
    with tifffile.TiffWriter(path, ome=True) as tiff:
        for position in STACK[0, :2, 0]:
            tiff.write(position, photometric="minisblack")


def write_pages(path: Path, *pages: np.ndarray) -> None:
    with tifffile.TiffWriter(path) as tiff:
        for page in pages:
            tiff.write(page, metadata=None)


def rename_pages(path: Path) -> None:
    """OME-XML of three images in a file that has two."""
    as_ome(path, STACK[0, 0, :2], "CYX")
    with tifffile.TiffFile(path) as tiff:
        text = tiff.ome_metadata
    assert text is not None
    tifffile.tiffcomment(path, text.replace('PlaneCount="2"', 'PlaneCount="3"'))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (write_series, "holds 2 images in the sense of OME: expected one field"),
        (
            lambda path: write_pages(path, STACK[0, 0, 0], STACK[0, 0, 0, ::2].copy()),
            "has pages of different sizes or types: 10 x 30 uint16 and 20 x 30 uint16",
        ),
        (
            lambda path: write_pages(path, STACK[0, 0, 0], STACK[0, 0, 0].astype(np.uint8)),
            "has pages of different sizes or types: 20 x 30 uint16 and 20 x 30 uint8",
        ),
        (rename_pages, "has 2 pages, but 3 in its OME-XML"),
    ],
)
def test_stacks_that_are_not_one_field(tmp_path: Path, make, sentence: str):
    (tmp_path / "P1").mkdir()
    make(tmp_path / "P1/A01_s1.tif")
    as_ome(tmp_path / "P1/A02_s1.tif", STACK[0, 0, :2], "CYX")
    plates = listed(tmp_path)
    assert [field.well for field in plates.fields] == ["A02"]
    assert [str(problem) for problem in plates.skipped] == [
        f"{tmp_path / 'P1/A01_s1.tif'} {sentence}"
    ]


def test_channels_of_a_stack_differ_in_size(tmp_path: Path):
    """With metadata that hide it: the check of all files finds it."""
    (tmp_path / "P1").mkdir()
    write_pages(tmp_path / "P1/A01_s1.tif", STACK[0, 0, 0], STACK[0, 0, 0, ::2].copy())
    (field,) = listed(tmp_path, pages="channel").fields
    _, problems = read_headers([field], workers=1)
    assert [str(problem) for problem in problems] == [
        "plate P1, well A01, site 1 has channels of different sizes or types: 10 x 30 uint16 and "
        "20 x 30 uint16"
    ]


def test_one_page_that_stands_for_several_is_refused(tmp_path: Path):
    """As ImageJ writes stacks beyond 4 GB; until then only the first image was read."""
    (tmp_path / "P1").mkdir()
    write(tmp_path, "P1/A01_s1_DNA.tif", STACK[0, :, 0], metadata={"axes": "ZYX"}, truncate=True)
    write(tmp_path, "P1/A02_s1_DNA.tif", STACK[0, 0, 0])
    text = "ImageJ=1.54\nimages=3\nslices=3\n"
    tifffile.tiffcomment(tmp_path / "P1/A02_s1_DNA.tif", text)
    _, problems = read_headers(listed(tmp_path, NAMED).fields, workers=1)
    expected = "is a stack whose images share one page: save it as OME-TIFF"
    assert [str(problem).partition(".tif ")[2] for problem in problems] == [expected] * 2


OME = """<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:{own}">
{images}</OME>"""
IMAGE = """<Image ID="Image:{n}"><Pixels DimensionOrder="XYZCT" SizeC="2" SizeZ="1" SizeT="1"
SizeX="30" SizeY="20" Type="uint16"><Channel Name="ER"/><Channel Name="DNA"/>
<TiffData IFD="1" FirstC="0"><UUID FileName="A0{n}_s1.tif">urn:uuid:{n}</UUID></TiffData>
<TiffData IFD="0" FirstC="1"><UUID FileName="A0{n}_s1.tif">urn:uuid:{n}</UUID></TiffData>
</Pixels></Image>"""


def test_a_data_set_of_several_ome_tiffs_is_read_file_by_file(tmp_path: Path):
    """Each file describes all images, and its own pages in an order of its own."""
    (tmp_path / "P1").mkdir()
    images = "".join(IMAGE.format(n=n) for n in (1, 2))
    for n in (1, 2):
        description = OME.format(own=n, images=images)
        how = {"description": description, "metadata": None}
        write(tmp_path, f"P1/A0{n}_s1.tif", STACK[n - 1, 0, :2], **how)
    plates = listed(tmp_path)
    assert plates.channels == ("DNA", "ER")
    for n, field in enumerate(plates.fields):
        np.testing.assert_array_equal(read_field(field), STACK[n, 0, :2])


def test_frames_of_a_loaddata_csv_are_pages(tmp_path: Path):
    write(tmp_path, "a.tif", STACK[0, 0, :3], metadata=None)
    (tmp_path / "load_data.csv").write_text(
        "Metadata_Plate,Metadata_Well,FileName_OrigER,Frame_OrigER,FileName_OrigDNA,Frame_OrigDNA\n"
        "P1,A01,a.tif,2,a.tif,0\n"
    )
    plates = list_fields(tmp_path)
    assert plates.channels == ("ER", "DNA")
    np.testing.assert_array_equal(read_field(plates.fields[0]), STACK[0, 0, [2, 0]])
    text = (tmp_path / "load_data.csv").read_text().replace("a.tif,2", "a.tif,3")
    (tmp_path / "load_data.csv").write_text(text)
    _, problems = read_headers(list_fields(tmp_path).fields, workers=1)
    assert str(problems[0]).endswith("has no page 3: it has 3, counted from 0")


def test_a_frame_of_0_is_the_first_page(tmp_path: Path):
    """CellProfiler writes 0 for files of one image too, which are then no stacks."""
    write(tmp_path, "a.tif", STACK[0, 0, :3], metadata=None)
    write(tmp_path, "b.tif", STACK[0, 0, 3])
    table = tmp_path / "load_data.csv"
    head = "Metadata_Plate,Metadata_Well,FileName_ER,Frame_ER,FileName_DNA,Frame_DNA"
    table.write_text(f"{head}\nP1,A01,a.tif,0,b.tif,0\n")
    plates = list_fields(tmp_path)
    assert plates.channels == ("ER", "DNA")
    np.testing.assert_array_equal(read_field(plates.fields[0]), STACK[0, 0, [0, 3]])
    by_setting = list_fields(tmp_path, LayoutSettings(pages="time"))
    assert "imaged at 3 time points" in str(by_setting.skipped[0])  # the setting comes first
    table.write_text(f"{head}\nP1,A01,,,b.tif,0\n")
    (field,) = list_fields(tmp_path).fields
    assert field.images[0].planes[0].page is None


def test_a_frame_that_is_not_given(tmp_path: Path):
    write(tmp_path, "a.tif", STACK[0, 0, :3], metadata=None)
    head = "Metadata_Plate,Metadata_Well,FileName_ER,Frame_ER"
    (tmp_path / "load_data.csv").write_text(f"{head}\nP1,A01,a.tif,\nP1,A02,a.tif,2\n")
    plates = list_fields(tmp_path)
    assert [field.well for field in plates.fields] == ["A02"]
    assert str(plates.skipped[0]).endswith(
        "line 2: its Frame_ER is empty, and the table has files of several pages"
    )


@pytest.mark.parametrize("names", [["DNA"], []])
def test_ome_xml_with_fewer_channels_than_it_counts(tmp_path: Path, names: list[str]):
    (tmp_path / "P1").mkdir()
    channels = "".join(f'<Channel Name="{name}"/>' for name in names)
    text = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image><Pixels '
        'DimensionOrder="XYCZT" SizeC="3" SizeZ="1" SizeT="1" SizeX="30" SizeY="20" Type="uint16">'
        f"{channels}<TiffData/></Pixels></Image></OME>"
    )
    write(tmp_path, "P1/A01_s1.tif", STACK[0, 0, :3], description=text, metadata=None)
    plates = listed(tmp_path)
    assert plates.channels == ("1", "2", "3")
    np.testing.assert_array_equal(read_field(plates.fields[0]), STACK[0, 0, :3])


def test_frames_without_a_column_of_planes_are_no_sites(tmp_path: Path):
    write(tmp_path, "a.tif", STACK[0, 0, :2], metadata=None)
    table = tmp_path / "load_data.csv"
    head = "Metadata_Plate,Metadata_Well,FileName_DNA,Frame_DNA"
    table.write_text(f"{head}\nP1,A01,a.tif,0\nP1,A01,a.tif,1\n")
    assert "channel DNA has two files" in str(list_fields(tmp_path).skipped[0])
    table.write_text(f"{head},Metadata_Plane\nP1,A01,a.tif,0,1\nP1,A01,a.tif,1,2\n")
    (field,) = list_fields(tmp_path).fields
    np.testing.assert_array_equal(read_field(field)[0], STACK[0, 0, :2].max(axis=0))


def test_a_store_of_stacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    raw = tmp_path / "raw"
    (raw / "P1").mkdir(parents=True)
    for well in ("A01", "B02"):
        as_ome(raw / f"P1/{well}_s1.tif", STACK[0, :, :2], "ZCYX", ["DNA", "ER"])
    settings = IngestSettings(pattern=PATTERN, workers=1, channels="ER,DNA")
    store = ingest(raw, tmp_path / "store", settings=settings)
    assert store is not None
    assert list(store.channels) == ["ER", "DNA"]
    for row in range(2):
        expected = STACK[0].max(axis=0)[[1, 0]]
        np.testing.assert_array_equal(read_stored(open_store(tmp_path / "store"), row), expected)
    assert "2 files with 2 channels (DNA, ER), 3 planes" in capsys.readouterr().err
    signature = json.loads((tmp_path / "store/artefact.json").read_text())
    assert "pages" not in signature["settings"]  # the default is that of version 0.1
