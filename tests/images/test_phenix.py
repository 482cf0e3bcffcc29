"""Phenix: plates, wells, fields, planes and channels come from Harmony's index."""

import csv
from pathlib import Path
from xml.sax.saxutils import escape

import pytest

from phenomae.images.fields import Listing
from phenomae.images.layouts.phenix import find_phenix, list_phenix
from phenomae.images.settings import LayoutSettings

V5 = "http://www.perkinelmer.com/PEHH/HarmonyV5"
V7 = "43B2A954-E3C3-47E1-B392-6635266B0DD3/HarmonyV7"

Row = dict[str, str]


def row(well: tuple[int, int], field: int, channel: int, name: str, plane: int = 1) -> Row:
    """An image in an index, with a file name as Harmony writes it."""
    line, column = well
    return {
        "id": f"{line:02d}{column:02d}K1F{field}P{plane}R{channel}",
        "URL": f"r{line:02d}c{column:02d}f{field:02d}p{plane:02d}-ch{channel}sk1fk1fl1.tiff",
        "Row": str(line),
        "Col": str(column),
        "FieldID": str(field),
        "PlaneID": str(plane),
        "TimepointID": "0",
        "ChannelID": str(channel),
        "ChannelName": name,
    }


def element(name: str, value: str, unit: str = "") -> str:
    attribute = f' Unit="{unit}"' if unit else ""
    return f"<{name}{attribute}>{escape(value)}</{name}>"


def write_index(
    path: Path,
    rows: list[Row],
    *,
    plates: tuple[str, ...] = ("<PlateID>P1</PlateID>",),
    size: tuple[str, str] = ("5.979760809567617E-07", "m"),
    entries: bool = False,
    namespace: str = V5,
    bom: bool = True,
    head: str = "",
    tiffs: bool = True,
) -> Path:
    """Write an index like Harmony's; with `entries` channels are in Maps, as in Harmony 7."""
    path.parent.mkdir(parents=True, exist_ok=True)
    resolution = element("ImageResolutionX", size[0], size[1])
    maps, images = "", ""
    channels = {row["ChannelID"]: row["ChannelName"] for row in rows if "ChannelName" in row}
    if entries:
        for number, name in channels.items():
            content = element("ChannelName", name) + resolution
            maps += f'<Entry ChannelID="{number}">{content}</Entry>'
    for values in rows:
        content = "".join(
            element(key, value)
            for key, value in values.items()
            if not (entries and key == "ChannelName")
        )
        images += f'<Image Version="1">{content}{"" if entries else resolution}</Image>\n'
    text = (
        f'<?xml version="1.0" encoding="utf-8"?>{head}\n'
        f'<EvaluationInputData Version="1" xmlns="{namespace}"><User>u</User>'
        f"<Plates>{''.join(f'<Plate>{plate}</Plate>' for plate in plates)}</Plates>"
        f'<Wells><Well><id>0101</id><Image id="0101K1F1P1R1" /></Well></Wells>'
        '<Maps><Map><Entry ChannelID="1"><FlatfieldProfile>{Channel: 1}</FlatfieldProfile>'
        f"</Entry></Map><Map>{maps}</Map></Maps>\n<Images>{images}</Images></EvaluationInputData>"
    )
    path.write_bytes((b"\xef\xbb\xbf" if bom else b"") + text.encode())
    for values in rows if tiffs else []:
        if "/" not in values.get("URL", "/"):
            (path.parent / values["URL"]).touch()
    return path


def listed(raw: Path, plate_name: str | None = None) -> Listing:
    return list_phenix(raw, find_phenix(raw), LayoutSettings(plate_name=plate_name))


def essence(listing: Listing) -> list[tuple[str, str, int, str, int, str]]:
    return [
        (file.plate, file.well, file.site, file.channel, file.plane, Path(file.place.url).name)
        for file in listing.files
    ]


@pytest.mark.parametrize("version", ["1", "5", "7"])
def test_the_real_indices_agree_with_loaddata_that_pe2loaddata_made(shared: Path, version: str):
    folder = shared / f"data/images/phenix_pe2loaddata/Version{version}"
    channels: dict[str, str] = {}
    for line in (folder / f"config_v{version}.yml").read_text().splitlines()[1:]:
        if line.startswith("metadata:"):
            break
        if line.strip():
            name, _, column = line.strip().rpartition(": ")
            channels[name] = column
    with open(folder / f"load_data_version{version}.csv", newline="") as opened:
        rows = list(csv.DictReader(opened))
    expected = {
        (
            row["Metadata_Plate"],
            row["Metadata_Well"],
            int(row["Metadata_Site"]),
            name,
            int(row["Metadata_PlaneID"]),
            row[f"FileName_{column}"],
        )
        for row in rows
        for name, column in channels.items()
    }
    listing = listed(folder)
    assert len(listing.files) == len(expected)
    assert set(essence(listing)) == expected
    metres = float(rows[0]["Metadata_ImageResolutionX"])
    assert listing.pixel_sizes_um == {rows[0]["Metadata_Plate"]: pytest.approx(metres * 1e6)}
    assert listing.problems == []
    assert listing.ignored == {}


def test_what_the_real_indices_say(shared: Path):
    data = shared / "data/images/phenix_pe2loaddata"
    listing = listed(data)
    assert listing.pixel_sizes_um == {
        "BR00121482": 0.5979760809567617,
        "BR00122249": 0.5979760809567617,
        "240624_WES_Perturbs_n_densities_1.1": 0.296688132474701,
    }
    named = {
        plate: [file.channel for file in listing.files if file.plate == plate]
        for plate in listing.pixel_sizes_um
    }
    cells = ["Alexa 647", "Alexa 568", "488 long", "Alexa 488", "HOECHST 33342", "Brightfield"]
    assert named["BR00121482"] == cells
    assert named["BR00122249"][:3] == ["Digital Phase Contrast", "Brightfield high", "488 650"]
    assert "405ex, 570-630-em)" in named["240624_WES_Perturbs_n_densities_1.1"]
    first = listing.files[0]
    assert first.acquisition == "Version1"
    path = data / "Version1/images/r01c01f01p01-ch1sk1fk1fl1.tiff"
    assert first.place.url == str(path)
    assert path.is_file()


@pytest.mark.parametrize(
    ("name", "namespace", "bom", "entries"),
    [
        ("Index.idx.xml", V5, False, False),
        ("Index.idx.xml", V5, True, False),
        ("Index.xml", V7, True, True),
        ("INDEX.XML", "", False, True),
    ],
)
def test_every_version_names_wells_fields_planes_and_channels(
    tmp_path: Path, name: str, namespace: str, bom: bool, entries: bool
):
    rows = [
        row((2, 3), 1, 1, "HOECHST 33342"),
        row((2, 3), 1, 1, "HOECHST 33342", plane=2),
        row((16, 24), 12, 2, "Alexa 488"),
        row((32, 48), 1, 2, "Alexa 488"),
    ]
    rows[2]["URL"] = "my plate #7 r16c24.tiff"
    folder = tmp_path / "P1__2021 #3 & more-Measurement1" / "Images"
    index = write_index(folder / name, rows, namespace=namespace, bom=bom, entries=entries)
    assert find_phenix(tmp_path) == find_phenix(index) == [index]
    listing = listed(tmp_path)
    assert essence(listing) == [
        ("P1", "B03", 1, "HOECHST 33342", 1, "r02c03f01p01-ch1sk1fk1fl1.tiff"),
        ("P1", "B03", 1, "HOECHST 33342", 2, "r02c03f01p02-ch1sk1fk1fl1.tiff"),
        ("P1", "P24", 12, "Alexa 488", 1, "my plate #7 r16c24.tiff"),
        ("P1", "AF48", 1, "Alexa 488", 1, "r32c48f01p01-ch2sk1fk1fl1.tiff"),
    ]
    assert {Path(file.place.url).parent for file in listing.files} == {folder}
    assert {file.acquisition for file in listing.files} == {"P1__2021 #3 & more-Measurement1"}
    assert listing.pixel_sizes_um == {"P1": 0.5979760809567617}
    assert listing.problems == []


def test_no_index_is_of_another_layout(tmp_path: Path):
    (tmp_path / "._Index.xml").write_bytes(b"what a Mac leaves")
    (tmp_path / "load_data.csv").touch()
    assert find_phenix(tmp_path) == []
    assert find_phenix(tmp_path / "load_data.csv") == []


def test_images_lie_in_a_folder_beside_the_index_too(tmp_path: Path):
    index = write_index(tmp_path / "M1/Index.idx.xml", [row((1, 1), 1, 1, "DNA")], tiffs=False)
    (tmp_path / "M1/images").mkdir()
    (tmp_path / "M1/images/r01c01f01p01-ch1sk1fk1fl1.tiff").touch()
    listing = listed(index)
    assert listing.files[0].place.url == str(tmp_path / "M1/images/r01c01f01p01-ch1sk1fk1fl1.tiff")
    assert listing.files[0].acquisition == "M1"


def test_missing_images_are_listed_and_unnamed_ones_counted(tmp_path: Path):
    index = write_index(tmp_path / "M1/Images/Index.xml", [row((1, 1), 1, 1, "DNA")], tiffs=False)
    for name in ("r09c09f01p01-ch1sk1fk1fl1.tiff", "preview.PNG", "notes.txt", "._x.tiff"):
        (index.parent / name).touch()
    listing = listed(index)
    assert [Path(file.place.url).name for file in listing.files] == [
        "r01c01f01p01-ch1sk1fk1fl1.tiff"
    ]
    assert listing.ignored == {"images that the index does not name": 2}


@pytest.mark.parametrize(
    ("plate", "expected"),
    [
        ("<PlateID>0042</PlateID><Name>n</Name>", "0042"),
        ("<PlateID /><Name>named</Name>", "named"),
        ("<PlateID></PlateID>", "M1"),
    ],
)
def test_a_plate_is_named_by_its_barcode_or_else_its_folder(
    tmp_path: Path, plate: str, expected: str
):
    rows = [row((1, 1), 1, 1, "DNA"), row((0, 1), 1, 1, "DNA")]
    write_index(tmp_path / "M1/Images/Index.xml", rows, plates=(plate,))
    listing = listed(tmp_path)
    assert [file.plate for file in listing.files] == [expected]
    assert [problem.plate for problem in listing.problems] == [expected]
    named = listed(tmp_path, plate_name="mine")
    assert [file.plate for file in named.files] == ["mine"]
    assert list(named.pixel_sizes_um) == ["mine"]


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (("2.96688132474701E-07", "m"), 0.296688132474701),
        (("0.000598", "mm"), 0.598),
        (("0.598", "µm"), 0.598),
        (("598", "nm"), 0.598),
        (("0.598", ""), None),
        (("0.598", "px"), None),
        (("wide", "m"), None),
        (("0", "m"), None),
        (("NaN", "m"), None),
    ],
)
def test_a_pixel_size_is_in_the_unit_that_the_index_names(
    tmp_path: Path, size: tuple[str, str], expected: float | None
):
    write_index(tmp_path / "M1/Index.xml", [row((1, 1), 1, 1, "DNA")], size=size)
    sizes = listed(tmp_path).pixel_sizes_um
    assert sizes == ({} if expected is None else {"P1": expected})


def test_channels_that_share_a_name_are_numbered_and_transmitted_light_is_marked(tmp_path: Path):
    rows = [row((1, 1), 1, number, name) for number, name in enumerate("AAB", start=1)]
    rows += [row((1, 1), 1, 4, "BF") | {"ChannelType": "Brightfield"}]
    rows += [row((1, 1), 1, 5, "Brightfield high") | {"ChannelType": "Brightfield"}]
    write_index(tmp_path / "M1/Index.xml", rows)
    assert [file.channel for file in listed(tmp_path).files] == [
        "A (channel 1)",
        "A (channel 2)",
        "B",
        "BF (brightfield)",
        "Brightfield high",
    ]


@pytest.mark.parametrize(
    ("change", "what", "well", "site"),
    [
        ({"Row": ""}, "it has no Row: expected an element", None, None),
        ({"Col": "0"}, "column '0' are not a well", None, None),
        ({"FieldID": "x"}, "'x' is not a site", "A01", None),
        ({"ChannelID": "", "ChannelName": ""}, "it has no ChannelName", "A01", 2),
        ({"State": "Failed"}, "the microscope reports the state Failed", "A01", 2),
        ({"ChannelName": "ER"}, "channel 1 is called 'DNA', and then 'ER'", "A01", 2),
        ({"URL": ""}, "it has no URL", "A01", 2),
        ({"URL": "../x.tiff"}, "'../x.tiff' is not the name of a file", "A01", 2),
        ({"URL": r"C:\x.tiff"}, "is not the name of a file beside or below the index", "A01", 2),
    ],
)
def test_an_image_that_cannot_be_understood_is_a_problem(
    tmp_path: Path, change: Row, what: str, well: str | None, site: int | None
):
    good, bad = row((1, 1), 1, 1, "DNA"), row((1, 1), 2, 1, "DNA") | change
    index = write_index(tmp_path / "M1/Index.xml", [good, bad], tiffs=False)
    listing = listed(tmp_path)
    assert len(listing.files) == 1
    (problem,) = listing.problems
    assert str(problem).startswith(f"{index}, image 0101K1F2P1R1: ")
    assert what in str(problem)
    assert (problem.plate, problem.well, problem.site) == ("P1", well, site)


def test_files_that_are_not_indices(tmp_path: Path):
    index = tmp_path / "Index.xml"

    def refused(match: str) -> None:
        with pytest.raises(ValueError, match=match):
            listed(index)

    rows = [row((1, 1), 1, 1, "DNA")]
    write_index(index, [])
    refused(r"Index\.xml names no image: expected elements Image in Images")
    write_index(index, [row((0, 1), 1, 1, "DNA")] * 2)
    refused(r"Index\.xml: 2 problems: image 0001K1F1P1R1: row '0' and column '1' are not a well")
    write_index(index, rows, plates=("<PlateID>P1</PlateID>", "<PlateID>P2</PlateID>"))
    refused(
        r"Index\.xml covers the plates P1 and P2, and its images do not say which plate they belong"
    )
    write_index(index, [*rows, rows[0] | {"ChannelName": "ER"}], entries=True)
    assert len(listed(index).files) == 2
    text = index.read_text(encoding="utf-8-sig").replace(
        "<Map><Entry", "<Map><Entry ChannelID='1'><ChannelName>RNA</ChannelName></Entry><Entry"
    )
    index.write_text(text)
    refused(r"Index\.xml: channel 1 is called 'RNA', and then 'ER'")
    write_index(index, rows, head='<!DOCTYPE a [<!ENTITY b "c">]>')
    refused(r"Index\.xml is not an index that can be read: it declares a document type")
    write_index(index, rows)
    index.write_bytes(index.read_bytes()[:-30])
    refused(r"Index\.xml is truncated or not XML \(.*: copy it again")


def test_the_index_in_the_folder_of_the_images_counts_once(tmp_path: Path):
    first = write_index(tmp_path / "M1/Images/Index.idx.xml", [row((1, 1), 1, 1, "DNA")])
    write_index(tmp_path / "M1/Images/Index.xml", [row((1, 1), 1, 1, "DNA")])
    assert find_phenix(tmp_path) == [first]
