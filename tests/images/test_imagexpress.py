"""ImageXpress: plates, wells, sites, waves and planes come from folders and file names."""

from pathlib import Path

import pytest

from phenomae.images.fields import Listing
from phenomae.images.layouts.htd import read_htd
from phenomae.images.layouts.imagexpress import find_imagexpress, list_imagexpress
from phenomae.images.settings import LayoutSettings

GUID = "1E78EB12-BD0D-4D94-A6AD-3FF28BB1B105"


def htd(
    *waves: str, wells: tuple[str, ...] = ("B02",), sites: int = 2, description: str = "d"
) -> str:
    """An HTD file of a plate of 96 wells, as MetaXpress writes it."""
    lines = ['"HTSInfoFile", Version 1.0', f'"Description", "{description}"', '"PlateType", 2']
    lines += ['"TimePoints", 1', '"ZSeries", TRUE', '"ZSteps", 3', '"XWells", 12', '"YWells", 8']
    for number, letter in enumerate("ABCDEFGH", start=1):
        chosen = ["FALSE", "TRUE"]
        row = [chosen[f"{letter}{column:02d}" in wells] for column in range(1, 13)]
        lines.append(f'"WellsSelection{number}", {", ".join(row)}')
    lines += [f'"Sites", {"TRUE" if sites > 1 else "FALSE"}', '"XSites", 3', '"YSites", 2']
    chosen = ["TRUE"] * sites + ["FALSE"] * (6 - sites)
    lines += [f'"SiteSelection{at + 1}", {", ".join(chosen[3 * at : 3 * at + 3])}' for at in (0, 1)]
    lines += ['"Waves", TRUE', f'"NWavelengths", {len(waves)}']
    lines += [f'"WaveName{number}", "{name}"' for number, name in enumerate(waves, start=1)]
    return "\r\n".join([*lines, '"UniquePlateIdentifier", "6f0b"', '"EndFile"', ""])


def write(folder: Path, text: str | None, *names: str, stem: str = "9987") -> Path:
    """Write an HTD file and empty files; names may contain folders."""
    folder.mkdir(parents=True, exist_ok=True)
    if text is not None:
        (folder / f"{stem}.HTD").write_bytes(text.encode("latin-1"))
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def listed(raw: Path, plate_name: str | None = None) -> Listing:
    return list_imagexpress(raw, find_imagexpress(raw), LayoutSettings(plate_name=plate_name))


def essence(listing: Listing) -> list[tuple[str, int, str, int, str]]:
    return sorted(
        (file.well, file.site, file.channel, file.plane, Path(file.place.url).name)
        for file in listing.files
    )


def test_the_real_folder(shared: Path):
    folder = shared / "data/images/imagexpress_faim/9987_Plate_3435"
    assert find_imagexpress(folder) == [folder / "9987.HTD"]
    listing = listed(folder)
    assert essence(listing) == [
        ("B02", 1, "DAPI", 1, "9987_B02_s1_w1.TIF"),
        ("B02", 1, "FITC", 1, "9987_B02_s1_w2.TIF"),
        ("B02", 2, "DAPI", 1, "9987_B02_s2_w1.TIF"),
        ("B02", 2, "FITC", 1, "9987_B02_s2_w2.TIF"),
        ("B03", 1, "DAPI", 1, "9987_B03_s1_w1.TIF"),
        ("B03", 1, "FITC", 1, "9987_B03_s1_w2.TIF"),
        ("B03", 2, "DAPI", 1, "9987_B03_s2_w1.TIF"),
        ("B03", 2, "FITC", 1, "9987_B03_s2_w2.TIF"),
    ]
    assert all(Path(file.place.url).is_file() for file in listing.files)
    assert {(file.plate, file.acquisition) for file in listing.files} == {
        ("9987", "9987_Plate_3435")
    }
    assert (listing.problems, listing.ignored, listing.pixel_sizes_um) == ([], {}, {})


def test_the_real_htd_files(shared: Path):
    data = shared / "data/images/imagexpress_faim"
    for path in (data / "9987_Plate_3434_example.HTD", data / "9987_Plate_3435/9987.HTD"):
        plate = read_htd(path)
        assert plate.waves == {"1": "DAPI", "2": "FITC", "3": "Texas Red", "4": "Cy5"}
        assert list(plate.wells) == ["B02", "B03"]
        assert plate.sites == 2


def test_one_time_point_can_be_the_raw_folder(tmp_path: Path):
    names = ("TimePoint_1/9987.HTD", "TimePoint_1/9987_B02_w1.TIF", "TimePoint_2/9987_B02_w1.TIF")
    write(tmp_path, htd("DAPI", sites=1), *names)
    (tmp_path / names[0]).write_bytes((tmp_path / "9987.HTD").read_bytes())
    assert find_imagexpress(tmp_path) == [tmp_path / "9987.HTD"]
    assert [file.time for file in listed(tmp_path).files] == ["1", "2"]
    for raw in (tmp_path / "TimePoint_1", tmp_path / names[0]):
        files = listed(raw).files
        assert [file.place.url for file in files] == [str(tmp_path / names[1])]


@pytest.mark.parametrize(
    ("waves", "sites", "name", "expected"),
    [
        (("DAPI", "Cy5"), 2, "9987_B02_s1_w2.TIF", (1, "Cy5")),
        (("DAPI", "Cy5"), 2, "9987_B02_s12_w02.tif", (12, "Cy5")),
        (("DAPI", "Cy5"), 1, "9987_B02_w2.TIF", (1, "Cy5")),
        (("DAPI",), 2, "9987_B02_s10.TIF", (10, "DAPI")),
        (("DAPI",), 1, "9987_B02.TIF", (1, "DAPI")),
        (("DAPI",), 1, "9987_b02.tiff", (1, "DAPI")),
        (("DAPI", "Cy5"), 2, f"9987_B02_s1_w2{GUID}.tif", (1, "Cy5")),
        (("DAPI", "Cy5"), 2, f"9987_B02_s1_w2_[{GUID}].tif", (1, "Cy5")),
        (("DAPI",), 2, f"9987_B02_s11{GUID}.tif", (11, "DAPI")),
        (("DAPI",), 1, f"9987_B02{GUID}.tif", (1, "DAPI")),
        (("DAPI", "Cy5"), 2, "my plate #7_A01 x_B02_s1_w1.TIF", (1, "DAPI")),
        (("a, b", "Cy5"), 2, "9987_B02_s1_w1.TIF", (1, "a, b")),
        (("Cy5", "DAPI", "Cy5"), 2, "9987_B02_s1_w3.TIF", (1, "Cy5 (channel 3)")),
    ],
)
def test_names_give_well_site_and_wave(
    tmp_path: Path, waves: tuple[str, ...], sites: int, name: str, expected: tuple[int, str]
):
    write(tmp_path / "9987_Plate_1", htd(*waves, sites=sites), f"TimePoint_1/{name}")
    (file,) = listed(tmp_path).files
    assert (file.plate, file.well, file.site, file.channel, file.plane) == (
        "9987",
        "B02",
        *expected,
        1,
    )
    assert file.place.url == str(tmp_path / "9987_Plate_1/TimePoint_1" / name)


def test_thumbnails_and_other_images_are_counted(tmp_path: Path):
    names = [f"9987_B02_s1_w1_thumb{GUID}.tif", "9987_B02_s1_w1_thumb.TIF", "9987_B02_thumb_w1.tif"]
    names += [f"9987_B02_thumb{GUID}.tif", "9987_B02_s1_w1.TIF", "overview.TIF", "._9987_B02.TIF"]
    write(tmp_path, htd("DAPI", "Cy5", sites=1), *(f"TimePoint_1/{name}" for name in names))
    listing = listed(tmp_path)
    assert essence(listing) == [("B02", 1, "DAPI", 1, "9987_B02_s1_w1.TIF")]
    assert listing.ignored == {"thumbnails": 4, "images that the index does not name": 1}
    assert listing.problems == []


def test_stacks_replace_their_projections_and_single_planes_stay(tmp_path: Path):
    stack = [f"ZStep_{step}/9987_B02_s1_w1.TIF" for step in (1, 2, 10)]
    beside = ["9987_B02_s1_w1.TIF", "9987_B02_s1_w2.TIF", "ZStep_0/9987_B02_s1_w3.TIF"]
    single = ["ZStep_2/9987_B02_s1_w4.TIF", "ZStep_0/9987_B02_s1_w4.TIF"]
    names = [f"TimePoint_1/{name}" for name in (*stack, *beside, *single)]
    write(tmp_path, htd("DAPI", "FITC", "Red", "Cy5", sites=1), *names)
    listing = listed(tmp_path)
    where = {
        (file.channel, file.plane): Path(file.place.url).relative_to(tmp_path / "TimePoint_1")
        for file in listing.files
    }
    assert where == {
        ("DAPI", 1): Path(stack[0]),
        ("DAPI", 2): Path(stack[1]),
        ("DAPI", 10): Path(stack[2]),
        ("FITC", 1): Path(beside[1]),
        ("Red", 1): Path(beside[2]),
        ("Cy5", 2): Path(single[0]),
    }
    assert listing.ignored == {"projections": 2}
    assert listing.problems == []


def test_stacks_lie_in_the_folder_of_the_plate_too(tmp_path: Path):
    names = [f"ZStep_{step}/9987_B02_w1{GUID}.tif" for step in (1, 2)]
    write(tmp_path / "2023-02-21/1334", htd("DAPI", "FITC", sites=1), *names, "deep/9987_B02.tif")
    listing = listed(tmp_path)
    assert [(file.plane, file.acquisition) for file in listing.files] == [(1, "1334"), (2, "1334")]


def test_what_is_selected_and_not_there_is_a_problem(tmp_path: Path):
    text = htd("DAPI", "FITC", wells=("B02", "C12", "H01"), sites=2)
    write(tmp_path, text, "9987_B02_s1_w1.TIF", "9987_H01_s1_w1.TIF", "9987_H01_s2_w1.TIF")
    listing = listed(tmp_path)
    assert len(listing.files) == 3
    htd_file = tmp_path / "9987.HTD"
    assert [(str(p), p.plate, p.well, p.site) for p in listing.problems] == [
        (
            f"plate 9987, well B02, site 2 has no image, but {htd_file} selects it",
            "9987",
            "B02",
            2,
        ),
        (f"plate 9987, well C12 has no image, but {htd_file} selects it", "9987", "C12", None),
    ]


def test_unknown_waves_and_invalid_wells_are_problems(tmp_path: Path):
    names = ("9987_B02_w1.TIF", "9987_B02_w3.TIF", "9987_B02.TIF", "9987_B00_w1.TIF")
    write(tmp_path, htd("DAPI", "FITC", sites=1), *names)
    listing = listed(tmp_path)
    assert len(listing.files) == 1
    known = f"but {tmp_path / '9987.HTD'} has the waves 1 (DAPI), 2 (FITC)"
    printed = [str(problem).removeprefix(f"{tmp_path}/") for problem in listing.problems]
    assert printed[0].startswith("9987_B00_w1.TIF: row 'B' and column '00' are not a well")
    assert printed[1:] == [
        f"9987_B02.TIF: it has no wave in its name, {known}",
        f"9987_B02_w3.TIF: it has the wave 3, {known}",
    ]
    assert [(p.plate, p.well, p.site) for p in listing.problems] == [
        ("9987", None, 1),
        ("9987", "B02", 1),
        ("9987", "B02", 1),
    ]


def test_plates_that_share_a_folder_are_distinguished_by_their_names(tmp_path: Path):
    text = htd("DAPI", sites=1)
    write(tmp_path, text, "one_B02.TIF", "two_B02.TIF", "three_B02.TIF", stem="one")
    write(tmp_path, text, stem="Two")
    listing = listed(tmp_path)
    assert [(file.plate, Path(file.place.url).name) for file in listing.files] == [
        ("Two", "two_B02.TIF"),
        ("one", "one_B02.TIF"),
    ]
    assert listing.ignored == {"images that the index does not name": 1}
    with pytest.raises(ValueError, match=r"plate_name is 'X', but .* holds 2 plates: Two, one"):
        listed(tmp_path, plate_name="X")


def test_acquisitions_of_a_plate_are_distinguished_by_folder(tmp_path: Path):
    for folder in ("9987_Plate_1", "9987_Plate_2"):
        write(tmp_path / folder, htd("DAPI", sites=1), "TimePoint_1/9987_B02.TIF")
    listing = listed(tmp_path, plate_name="mine")
    assert [(file.plate, file.acquisition) for file in listing.files] == [
        ("mine", "9987_Plate_1"),
        ("mine", "9987_Plate_2"),
    ]


def test_an_htd_file_without_images_is_a_problem(tmp_path: Path):
    write(tmp_path, htd("DAPI"))
    listing = listed(tmp_path)
    assert listing.files == []
    assert [str(problem) for problem in listing.problems] == [
        f"{tmp_path / '9987.HTD'}: there is no image of its plate beside it or in TimePoint_1"
    ]
    assert find_imagexpress(tmp_path / "9987.HTD") == [tmp_path / "9987.HTD"]
    assert find_imagexpress(write(tmp_path / "other", None, "9987_B02.TIF", "x.csv")) == []


def test_htd_files_in_old_encodings_and_with_odd_lines(tmp_path: Path):
    path = write(tmp_path, htd("Œuf".encode("cp1252").decode("latin-1"), "µ")) / "9987.HTD"
    assert read_htd(path).waves == {"1": "\x8cuf", "2": "µ"}
    text = htd("Hoechst µ", sites=6, description='a "quoted\r\nnote", 3')
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    plate = read_htd(path)
    assert (plate.waves, plate.sites) == ({"1": "Hoechst µ"}, 6)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", 'is not an HTD file of MetaXpress: expected "HTSInfoFile" at its start'),
        ("well,site\nA01,1\n", 'is not an HTD file of MetaXpress: expected "HTSInfoFile"'),
        (htd("DAPI")[:700], 'is truncated: expected "EndFile" at its end; copy it again'),
        (htd(), 'names no wave: expected a line like "WaveName1", "DAPI"'),
        (htd("DAPI", description="x" * 200_000), "is not an HTD file of MetaXpress: field larger"),
        (
            htd("DAPI").replace('"XSites"', '"WellsSelection0", TRUE\r\n"XSites"'),
            "WellsSelection0: row '0' and column '1' are not a well",
        ),
    ],
)
def test_files_that_are_not_htd_files(tmp_path: Path, text: str, reason: str):
    write(tmp_path, text, "9987_B02_s1_w1.TIF")
    with pytest.raises(ValueError, match=rf"9987\.HTD,? {reason}"):
        listed(tmp_path)
    with pytest.raises(ValueError, match=r"gone\.HTD cannot be read: No such file"):
        read_htd(tmp_path / "gone.HTD")
