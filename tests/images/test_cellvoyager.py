"""CellVoyager: plates, wells, fields, planes and channels come from the measurement records."""

from pathlib import Path
from xml.sax.saxutils import quoteattr

import pytest

from phenomae.images.fields import Listing
from phenomae.images.layouts.cellvoyager import find_cellvoyager, list_cellvoyager
from phenomae.images.settings import LayoutSettings

NAMESPACE = 'xmlns:bts="http://www.yokogawa.co.jp/BTS/BTSSchema/1.0"'


def record(well: tuple[int, int], field: int, channel: int, plane: int = 1, **changes: str) -> str:
    """A record as the microscope writes it; empty values in `changes` are left out."""
    row, column = well
    name = f"my plate #7_{chr(64 + row)}{column:02d}_F{field:03d}Z{plane:02d}C{channel:02d}.tif"
    values = {
        "Type": "IMG",
        "Column": str(column),
        "Row": str(row),
        "TimePoint": "1",
        "FieldIndex": str(field),
        "ZIndex": str(plane),
        "Ch": str(channel),
        **changes,
    }
    text = values.pop("text", name)
    attributes = "".join(f" bts:{key}={quoteattr(value)}" for key, value in values.items() if value)
    return f"<bts:MeasurementRecord{attributes}>{text}</bts:MeasurementRecord>"


def channel(number: int, target: str, fluorophore: str = "", kind: str = "Fluorescence") -> str:
    return (
        f'<bts:Channel bts:Ch="{number}" bts:Target="{target}" bts:Acquisition="BP445/45" '
        f'bts:Kind="{kind}" bts:Fluorophore="{fluorophore}"><bts:LightSourceName>405nm'
        "</bts:LightSourceName></bts:Channel>"
    )


def write(
    folder: Path,
    *records: str,
    plate: str | None = "P1",
    sizes: tuple[str, ...] = ("0.325", "0.325"),
    channels: tuple[str, ...] | None = (channel(1, "405"), channel(2, "488")),
    head: str = "",
) -> Path:
    """Write the three files of a measurement."""
    folder.mkdir(parents=True, exist_ok=True)
    declaration = '<?xml version="1.0" encoding="utf-8"?>'
    index = folder / "MeasurementData.mlf"
    index.write_text(
        f'{declaration}{head}\n<bts:MeasurementData bts:Version="1.0" {NAMESPACE}>\n'
        + "\n".join(records)
        + "\n</bts:MeasurementData>"
    )
    if plate is not None:
        channels_xml = "".join(
            f'<bts:MeasurementChannel bts:Ch="{number}" bts:HorizontalPixelDimension="{size}" '
            f'bts:ShadingCorrectionSource="shade {number}.tif" />'
            for number, size in enumerate(sizes, start=1)
        )
        (folder / "MeasurementDetail.mrf").write_text(
            f'{declaration}<bts:MeasurementDetail bts:Title="title" '
            f'bts:MeasurementSettingFileName="my settings #1.mes" {NAMESPACE}>'
            f"<bts:MeasurementSamplePlate bts:Name={quoteattr(plate)} />{channels_xml}"
            "</bts:MeasurementDetail>",
            encoding="utf-8-sig",
        )
    if channels is not None:
        (folder / "my settings #1.mes").write_text(
            f"{declaration}<bts:MeasurementSetting {NAMESPACE}><bts:ChannelList>"
            f"{''.join(channels)}</bts:ChannelList></bts:MeasurementSetting>",
            encoding="utf-8-sig",
        )
    return index


def listed(raw: Path, plate_name: str | None = None) -> Listing:
    return list_cellvoyager(raw, find_cellvoyager(raw), LayoutSettings(plate_name=plate_name))


def test_the_real_folder(shared: Path):
    data = shared / "data/images/cellvoyager_cv8000_layout_only"
    name = "CV8000-Minimal-DataSet-2C-3W-4S-FP2-stack"
    listing = listed(data)
    expected = {
        (name, well, site, label, plane): (
            f"{name}_{well}_T0001F{site:03d}L01A{number:02d}Z{plane:02d}C{number:02d}.tif"
        )
        for well in ("D08", "E03", "F08")
        for site in (1, 2, 3, 4)
        for plane in (1, 2, 3, 4)
        for number, label in ((1, "405"), (2, "488"))
    }
    assert len(listing.files) == 96
    assert {
        (f.plate, f.well, f.site, f.channel, f.plane): Path(f.place.url).name for f in listing.files
    } == expected
    assert all(Path(file.place.url).is_file() for file in listing.files)
    assert {file.acquisition for file in listing.files} == {name}
    assert listing.pixel_sizes_um == {name: 0.325}
    assert listing.ignored == {"shading files": 6}
    assert listing.problems == []


def test_records_name_wells_fields_planes_and_channels(tmp_path: Path):
    folder = tmp_path / "P1_20230918 #2"
    index = write(folder, record((4, 8), 1, 1), record((4, 8), 1, 1, 2), record((32, 48), 12, 2))
    assert find_cellvoyager(tmp_path) == find_cellvoyager(index) == [index]
    assert find_cellvoyager(folder / "MeasurementDetail.mrf") == []
    listing = listed(tmp_path)
    assert [
        (f.plate, f.well, f.site, f.channel, f.plane, f.acquisition) for f in listing.files
    ] == [
        ("P1", "D08", 1, "405", 1, "P1_20230918 #2"),
        ("P1", "D08", 1, "405", 2, "P1_20230918 #2"),
        ("P1", "AF48", 12, "488", 1, "P1_20230918 #2"),
    ]
    assert listing.files[1].place.url == str(folder / "my plate #7_D08_F001Z02C01.tif")
    assert listing.pixel_sizes_um == {"P1": 0.325}
    assert [file.plate for file in listed(tmp_path, plate_name="mine").files] == ["mine"] * 3


@pytest.mark.parametrize(
    ("channels", "expected"),
    [
        ((channel(1, "405", "Hoechst 33342"), channel(2, "ER")), ["Hoechst 33342", "ER"]),
        ((channel(1, "488"), channel(2, "488")), ["488 (channel 1)", "488 (channel 2)"]),
        ((channel(2, "BF", kind="BrightField"),), ["1", "BF (brightfield)"]),
        ((channel(1, ""), channel(2, "")), ["1", "2"]),
        (None, ["1", "2"]),
    ],
)
def test_channels_are_named_by_the_mes_file_or_by_number(
    tmp_path: Path, channels: tuple[str, ...] | None, expected: list[str]
):
    write(tmp_path, record((1, 1), 1, 1), record((1, 1), 1, 2), channels=channels)
    assert [file.channel for file in listed(tmp_path).files] == expected


def test_without_its_other_files_a_folder_is_read_all_the_same(tmp_path: Path):
    write(tmp_path / "my plate #7", record((1, 1), 1, 1), plate=None, channels=None)
    listing = listed(tmp_path)
    assert [(file.plate, file.channel) for file in listing.files] == [("my plate #7", "1")]
    assert listing.pixel_sizes_um == {}
    write(tmp_path / "my plate #7", record((1, 1), 1, 1), plate="")
    assert [file.plate for file in listed(tmp_path).files] == ["title"]


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        (("0.65", "0.325"), {"P1": 0.65}),  # channel 2 has no image
        (("", "0.325"), {}),
        (("0", "0.325"), {}),
        (("inf", "0.325"), {}),
    ],
)
def test_the_pixel_size_is_that_of_the_channels_imaged(
    tmp_path: Path, sizes: tuple[str, ...], expected: dict[str, float]
):
    write(tmp_path, record((1, 1), 1, 1), sizes=sizes)
    assert listed(tmp_path).pixel_sizes_um == expected


def test_channels_of_different_scale_give_no_pixel_size(tmp_path: Path):
    write(tmp_path, record((1, 1), 1, 1), record((1, 1), 1, 2), sizes=("0.65", "0.325"))
    assert listed(tmp_path).pixel_sizes_um == {}


def test_shading_files_and_other_images_are_counted(tmp_path: Path):
    write(tmp_path, record((1, 1), 1, 1))
    names = ["DC_DCAM#1_CAM3.tif", "SC_BP445-45_20x v2_M01_CH01.tif", "shade 1.tif", "other.tif"]
    for name in (*names, "my plate #7_A01_F001Z01C01.tif", "geometry_parameter.xml"):
        (tmp_path / name).touch()
    listing = listed(tmp_path)
    assert len(listing.files) == 1
    assert listing.ignored == {
        "shading files": 3,
        "images that the index does not name": 1,
    }


def test_failed_and_invalid_records_are_problems(tmp_path: Path):
    failed = record((3, 14), 1, 1, Type="ERR", FieldIndex="", Ch="", text="AF Error at C14 No. 0")
    bad = [
        record((1, 1), 1, 1, Row=""),
        record((1, 1), 1, 1, FieldIndex="one"),
        record((1, 1), 2, 1, Ch=""),
        record((1, 1), 2, 1, text="../x.tif"),
        record((1, 1), 2, 1, text=""),
        record((1, 1), 2, 1, Type="ERR", text=""),
    ]
    index = write(tmp_path, record((1, 1), 1, 1), failed, *bad)
    listing = listed(tmp_path)
    assert len(listing.files) == 1
    assert {problem.plate for problem in listing.problems} == {"P1"}
    printed = [(str(p).removeprefix(f"{index}, "), p.well, p.site) for p in listing.problems]
    beside = "is not the name of a file beside or below the index"
    assert printed == [
        ("record 2 (well C14): the microscope reports ERR: AF Error at C14 No. 0", "C14", None),
        ("record 3: it has no Row: expected an attribute of that name", None, None),
        ("record 4 (well A01): 'one' is not a site: expected a whole number", "A01", None),
        ("record 5 (well A01): it has no Ch: expected an attribute of that name", "A01", 2),
        (f"record 6 (well A01): '../x.tif' {beside}", "A01", 2),
        (f"record 7 (well A01): '' {beside}", "A01", 2),
        ("record 8 (well A01): the microscope reports ERR: no reason", "A01", None),
    ]
    write(tmp_path, failed)
    with pytest.raises(ValueError, match=r"MeasurementData\.mlf: record 1 \(well C14\): the micro"):
        listed(tmp_path)


def test_wells_may_have_different_time_points(tmp_path: Path):
    write(tmp_path, record((1, 1), 1, 1), record((2, 1), 1, 1, TimePoint="2"))
    assert [(file.well, file.time) for file in listed(tmp_path).files] == [
        ("A01", "1"),
        ("B01", "2"),
    ]


def test_measurements_of_a_plate_are_distinguished_by_the_folders_above(tmp_path: Path):
    for folder in ("P1_20230918/P1", "P1_20230919/P1"):
        write(tmp_path / folder, record((1, 1), 1, 1))
    listing = listed(tmp_path)
    assert [file.acquisition for file in listing.files] == ["P1_20230918/P1", "P1_20230919/P1"]
    write(tmp_path / "P2", record((1, 1), 1, 1), plate="P2")
    with pytest.raises(ValueError, match=r"plate_name is 'X', but .* holds 2 plates: P1, P2"):
        listed(tmp_path, plate_name="X")


def test_files_that_are_not_a_measurement(tmp_path: Path):
    index = write(tmp_path, record((1, 1), 1, 1))

    def refused(match: str) -> None:
        with pytest.raises(ValueError, match=match):
            listed(tmp_path)

    for name in ("MeasurementData.mlf", "MeasurementDetail.mrf", "my settings #1.mes"):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[:-20])
        refused(rf"{name} is truncated or not XML \(.*\): copy it again")
        (tmp_path / name).write_bytes(whole)
    write(tmp_path)
    refused(r"MeasurementData\.mlf names no image: expected elements MeasurementRecord")
    write(tmp_path, record((1, 1), 1, 1), head='<!DOCTYPE a [<!ENTITY b "c">]>')
    refused(r"MeasurementData\.mlf is not an index .* declares a document type")
    index.write_text("<html/>")
    refused(r"its root element is html, expected MeasurementData")
