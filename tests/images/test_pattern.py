"""File-name patterns: what their groups mean and what can be wrong with them."""

from pathlib import Path

import pytest

from phenomae.images.fields import Listing
from phenomae.images.layouts.pattern import list_pattern
from phenomae.images.read import list_fields, read_headers
from phenomae.images.settings import LayoutSettings

FULL = r"(?P<plate>[^/]+)/(?P<well>[A-Z]\d+)_s(?P<site>\d+)_(?P<channel>\w+)\.tiff"


def listed(raw: Path, pattern: str, **settings: str) -> Listing:
    return list_pattern(raw, (), LayoutSettings(pattern=pattern, **settings))  # type: ignore[arg-type]


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def test_pattern_lists_what_the_csv_lists(write_screen):
    raw = write_screen(plates=("P1", "P2"))
    by_csv = list_fields(raw)
    assert list_fields(raw, LayoutSettings(pattern=FULL)) == by_csv
    (raw / "load_data.csv").unlink()
    (raw / "plate_map.csv").unlink()
    assert list_fields(raw, LayoutSettings(pattern="images/" + FULL)) == by_csv


def test_links_to_plates_are_followed(write_screen, tmp_path: Path):
    raw = write_screen(plates=("P1", "P2"))
    links = tmp_path / "links"
    links.mkdir()
    for plate in ("P2", "P1"):
        (links / plate).symlink_to(raw / "images" / plate)
    assert {file.plate for file in listed(links, FULL).files} == {"P1", "P2"}


def test_a_link_that_leads_back_is_not_followed(tmp_path: Path):
    touch(tmp_path, "raw/P1/A01_s1_DNA.tiff")
    (tmp_path / "raw/P1/up").symlink_to(tmp_path / "raw")
    (tmp_path / "raw/P1/same").symlink_to(tmp_path / "raw/P1")
    assert len(listed(tmp_path / "raw", FULL).files) == 1


def test_a_link_to_a_plate_beside_it_is_no_second_plate(tmp_path: Path):
    """Whatever the order of their names is."""
    touch(tmp_path, "P1/A01_s1_DNA.tiff", "P2/A01_s1_DNA.tiff")
    (tmp_path / "latest").symlink_to("P1")
    (tmp_path / "zlatest").symlink_to("P2")
    assert sorted(file.plate for file in listed(tmp_path, FULL).files) == ["P1", "P2"]


def test_folders_that_link_to_each_other_are_walked_once(tmp_path: Path):
    """With the eight of them, all paths along their links would be more than 100,000."""
    names = [f"P{n}" for n in range(8)]
    touch(tmp_path, *(f"{name}/A01_s1_DNA.tiff" for name in names))
    for name in names:
        for other in names:
            if other != name:
                (tmp_path / name / f"to_{other}").symlink_to(f"../{other}")
    assert sorted(file.plate for file in listed(tmp_path, FULL).files) == names


def test_a_pattern_may_ignore_case(tmp_path: Path):
    touch(tmp_path, "P1/A01_s1_DNA.TIFF", "P1/A01_s2_DNA.tiff")
    assert len(listed(tmp_path, "(?i)" + FULL).files) == 2
    assert len(listed(tmp_path, FULL).files) == 1


def test_plate_falls_back_to_setting_then_folder_and_site_and_plane_to_one(tmp_path: Path):
    folder = touch(tmp_path / "plate 7", "r02c03-ch10.tiff", "r02c03-ch2.tiff")
    pattern = r"r(?P<row>\d+)c(?P<column>\d+)-ch(?P<channel>\d+)\.tiff"
    first, second = listed(tmp_path, pattern).files
    assert (first.channel, second.channel) == ("2", "10")
    assert (first.plate, first.well, first.site, first.plane) == ("plate 7", "B03", 1, 1)
    assert first.place.url == str(folder / "r02c03-ch2.tiff")
    assert listed(tmp_path, pattern, plate_name="X").files[0].plate == "X"
    assert listed(folder, pattern).files[0].plate == "plate 7"


@pytest.mark.parametrize(
    "others",
    [
        ["A02_w1.tif"],  # another well
        ["A01_w2.tif"],  # another channel
    ],
)
def test_folders_of_one_name_without_a_common_image_are_two_plates(tmp_path: Path, others):
    touch(tmp_path, "x/P1/A01_w1.tif", *(f"y/P1/{name}" for name in others))
    pattern = r"(?P<well>[A-P]\d\d)_w(?P<channel>\d)\.tif"
    with pytest.raises(ValueError, match=r"x/P1 and .*y/P1 would both be the plate P1, but have"):
        listed(tmp_path, pattern)
    assert {file.plate for file in listed(tmp_path, pattern, plate_name="P1").files} == {"P1"}
    named = rf"(?P<plate>[^/]+)/{pattern}"
    assert {file.plate for file in listed(tmp_path, named).files} == {"P1"}


def test_folders_of_one_name_with_common_images_are_a_plate_imaged_again(tmp_path: Path):
    touch(tmp_path, *(f"{day}/P1/A01_w{n}.tif" for day in ("x", "y") for n in (1, 2)))
    files = listed(tmp_path, r"(?P<well>[A-P]\d\d)_w(?P<channel>\d)\.tif").files
    assert {(file.plate, file.acquisition) for file in files} == {("P1", "x/P1"), ("P1", "y/P1")}


def test_planes_names_with_spaces_and_signs_and_hidden_files(tmp_path: Path):
    touch(tmp_path, "P #1/A-01 z3 a.TIF", "P #1/A-01 z12 a.TIF", "P #1/._A-01 z3 a.TIF")
    listing = listed(tmp_path, r"(?P<well>\w-\d\d) z(?P<plane>\d+) (?P<channel>\w)\.TIF")
    assert [(f.plate, f.well, f.plane) for f in listing.files] == [
        ("P #1", "A01", 12),
        ("P #1", "A01", 3),
    ]
    assert listing.ignored == {}


def test_the_acquisition_is_the_folder_that_the_groups_leave(tmp_path: Path):
    touch(
        tmp_path,
        "run 1/BR1__day 1/DNA/A01.tif",
        "run 1/BR1__day 1/ER/A01.tif",
        "run 2/BR22__day 1/ER/A01.tif",
    )
    pattern = r"(?P<plate>BR\d+)__[^/]+/(?P<channel>\w+)/(?P<well>\w+)\.tif"
    assert [(f.channel, f.plate, f.acquisition) for f in listed(tmp_path, pattern).files] == [
        ("DNA", "BR1", "run 1/*__day 1/*"),
        ("ER", "BR1", "run 1/*__day 1/*"),
        ("ER", "BR22", "run 2/*__day 1/*"),
    ]


def test_what_no_group_matches_of_the_name_tells_imagings_apart(tmp_path: Path):
    touch(tmp_path, "A1--T0--DNA.tif", "A01--T1--DNA.TIF", "A10--T1--ER.tif")
    pattern = r"(?i)(?P<well>[A-P]\d+)--T\d--(?P<channel>\w+)\.tif"
    assert [(f.well, f.channel, f.imaging) for f in listed(tmp_path, pattern).files] == [
        ("A01", "DNA", "*--t1--*.tif"),
        ("A01", "DNA", "*--t0--*.tif"),
        ("A10", "ER", "*--t1--*.tif"),
    ]
    named = pattern.replace(r"T\d", r"T(?P<acquisition>\d)")
    assert {(f.acquisition, f.imaging) for f in listed(tmp_path, named).files} == {
        ("0", ""),
        ("1", ""),
    }


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        ("(?P<channel>", "is not a regular expression"),
        (r"(?P<channel>.)", r"either a group .*well"),
        (r"(?P<row>.)(?P<channel>.)", r"either a group .*well"),
        (r"(?P<well>.)(?P<row>.)(?P<column>.)(?P<channel>.)", r"either a group .*well"),
        (r"(?P<well>.)(?P<chanel>.)", "has an unknown group 'chanel'; groups are plate, well"),
        (
            r"(?P<well>none)(?P<channel>.)",
            r"no file matches .*; files are, for example, 'images/P1/A01_s1_DNA\.tiff', 'imag",
        ),
    ],
)
def test_a_pattern_that_is_wrong_is_an_error(write_screen, pattern, sentence):
    with pytest.raises(ValueError, match=sentence):
        listed(write_screen(), pattern)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("P/A_s1_z1_D.tif", "'A' is not a well"),
        ("P/A01_sx_z1_D.tif", "'x' is not a site: expected a whole number"),
        ("P/A01_s1_zx_D.tif", "'x' is not a plane: expected a whole number"),
        ("P/A01_s1_z1_.tif", "the group channel is empty"),
        (".P/A01_s1_z1_D.tif", "'.P' cannot be the name of a plate"),
    ],
)
def test_a_file_that_is_named_wrongly_is_a_problem_and_the_others_are_read(tmp_path, name, what):
    touch(tmp_path, name, "Q/A01_s1_z1_D.tif", "Q/notes.txt")
    listing = listed(tmp_path, r"(?P<well>\w+?)_s(?P<site>.)_z(?P<plane>.)_(?P<channel>\w*)\.tif")
    assert [file.plate for file in listing.files] == ["Q"]
    assert listing.ignored == {"files that do not match the pattern": 1}
    (problem,) = listing.problems
    assert str(problem).startswith(f"{tmp_path / name}: {what}")


@pytest.mark.parametrize(
    ("size", "number", "well"), [(96, "0014", "B02"), (384, "026", "B02"), (6, "6", "B03")]
)
def test_wells_by_number_count_row_by_row(tmp_path: Path, size: int, number: str, well: str):
    """A plate of 96 has 12 columns, of 384 has 24, and of 6 has 3."""
    raw = touch(tmp_path, f"P/W{number}F1C2.tif")
    pattern = r"W(?P<well>\d+)F(?P<site>\d)C(?P<channel>\d)\.tif"
    plates = list_fields(raw, LayoutSettings(pattern=pattern, plate_size=size))
    assert [field.well for field in plates.fields] == [well]
    with pytest.raises(ValueError, match=r"needs the size of the plate \(setting plate_size\)"):
        list_fields(raw, LayoutSettings(pattern=pattern))
    touch(tmp_path, "P/W1537F1C2.tif", "P/W0F1C2.tif")
    plates = list_fields(raw, LayoutSettings(pattern=pattern, plate_size=size))
    assert [str(problem).partition("tif: ")[2] for problem in plates.skipped] == [
        f"'0' is not a well of a plate of {size}",
        f"'1537' is not a well of a plate of {size}",
    ]


def test_rows_and_columns_must_be_on_the_plate(tmp_path: Path):
    raw = touch(tmp_path, "P/r9c1_1.tif", "P/r8c12_1.tif")
    pattern = r"r(?P<row>\d+)c(?P<column>\d+)_(?P<channel>\d)\.tif"
    plates = list_fields(raw, LayoutSettings(pattern=pattern, plate_size=96))
    assert [field.well for field in plates.fields] == ["H12"]
    assert "'I01' is not a well of a plate of 96, whose last is H12" in str(plates.skipped[0])


def test_a_pattern_needs_files(tmp_path: Path):
    with pytest.raises(ValueError, match="holds no files"):
        listed(tmp_path, FULL)


def test_a_real_plate_of_imagexpress(shared):
    raw = shared / "data/images/imagexpress_faim/9987_Plate_3435"
    pattern = r"[^_/]+_(?P<well>[A-H]\d\d)_s(?P<site>\d)_w(?P<channel>\d)\.TIF"
    plates = list_fields(raw, LayoutSettings(pattern=pattern, plate_name="9987"))
    assert (len(plates.fields), plates.channels) == (4, ("1", "2"))
    headers, problems = read_headers(plates.fields, workers=1)
    assert not problems
    assert {(header.height, header.width, header.dtype) for header in headers} == {
        (256, 256, "uint16")
    }


def test_a_real_plate_that_counts_its_wells_in_front(shared):
    raw = shared / "data/images/bbbc013_cellprofiler_sbs96"
    pattern = r"Channel(?P<channel>\d)-(?P<well>\d\d-[A-H]-\d\d)\.tif"
    listing = listed(raw, pattern, plate_name="1049")
    assert len(listing.files) == 192
    wells = {Path(file.place.url).name[9:16]: file.well for file in listing.files}
    assert (wells["01-A-01"], wells["14-B-02"], wells["96-H-12"]) == ("A01", "B02", "H12")
