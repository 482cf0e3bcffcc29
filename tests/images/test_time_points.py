"""One time point of a series, chosen by the setting `time_point`, whatever the layout."""

from pathlib import Path

import pytest

from phenomae.images.fields import Listing, Place, RawFile
from phenomae.images.gather import gather_fields
from phenomae.images.read import list_fields
from phenomae.images.settings import LayoutSettings


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def chosen(listing: Listing, **settings: str) -> tuple[list[list[str]], list[str]]:
    """The files of each field, and the problems."""
    plates = gather_fields(listing, LayoutSettings(**settings), Path("raw"))  # type: ignore[arg-type]
    files = [[image.planes[0].url for image in field.images] for field in plates.fields]
    return files, [str(problem) for problem in plates.skipped]


def series(*images: tuple[str, str, str]) -> Listing:
    """Files named WELL CHANNEL TIME."""
    return Listing(
        [
            RawFile("P", well, 1, channel, Place(f"{well} {channel} {time}"), time=time)
            for well, channel, time in images
        ]
    )


SPARSE = series(
    ("A01", "1", "0"), ("A01", "1", "2"), ("A01", "2", "0"),
    ("A02", "1", "0"), ("A02", "1", "2"), ("A02", "1", "10"), ("A02", "2", "2"), ("A02", "2", "10"),
)  # fmt: skip


def test_several_time_points_need_the_setting():
    assert chosen(SPARSE) == (
        [],
        [
            "plate P was imaged at 3 time points (0, 2, 10), but a field has one "
            "(setting time_point: a number, first or last)"
        ],
    )


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("first", [["A01 1 0", "A01 2 0"], ["A02 1 2", "A02 2 2"]]),
        ("last", [["A01 1 0", "A01 2 0"], ["A02 1 10", "A02 2 10"]]),
    ],
)
def test_first_and_last_are_those_with_all_channels(time: str, expected: list[list[str]]):
    assert chosen(SPARSE, time_point=time) == (expected, [])


def test_a_number_is_the_same_for_all_fields():
    assert chosen(SPARSE, time_point="2") == (
        [["A02 1 2", "A02 2 2"]],
        ["plate P, well A01, site 1, channel 2 lacks time point 2"],
    )
    # Channels that are not kept do not count.
    assert chosen(SPARSE, time_point="002", channels="1") == ([["A01 1 2"], ["A02 1 2"]], [])
    assert chosen(SPARSE, time_point="last", channels="1") == ([["A01 1 2"], ["A02 1 10"]], [])


def test_channels_that_were_never_imaged_together():
    apart = series(("A01", "1", "0"), ("A01", "2", "1"))
    assert chosen(apart) == ([["A01 1 0", "A01 2 1"]], [])  # each has one time point only
    assert chosen(apart, time_point="first") == (
        [],
        ["plate P, well A01, site 1 has all channels at no time point"],
    )


def test_a_time_point_needs_time_points(write_screen):
    with pytest.raises(ValueError, match=r"time_point is '1', but nothing tells time points apart"):
        list_fields(write_screen(), LayoutSettings(time_point="1"))
    with pytest.raises(ValueError, match="time_point must be a number, first or last, not 'mid'"):
        LayoutSettings(time_point="mid")


def test_time_points_of_patterns_and_tables(tmp_path: Path):
    raw = touch(tmp_path, "P/A01_t1_DNA.tif", "P/A01_t02_DNA.tif")
    pattern = r"(?P<well>[^_/]+)_t(?P<time>\d+)_(?P<channel>\w+)\.tif"
    for number, name in (("1", "A01_t1_DNA.tif"), ("2", "A01_t02_DNA.tif")):
        plates = list_fields(raw, LayoutSettings(pattern=pattern, time_point=number))
        assert [Path(field.images[0].planes[0].url).name for field in plates.fields] == [name]
    (tmp_path / "load_data.csv").write_text(
        "Metadata_Plate,Metadata_Well,Metadata_TimepointID,FileName_DNA\n"
        "P,A01,0,P/A01_t1_DNA.tif\nP,A01,1,P/A01_t02_DNA.tif\n"
    )
    assert "imaged at 2 time points (0, 1)" in str(list_fields(raw).skipped[0])
    (field,) = list_fields(raw, LayoutSettings(time_point="last")).fields
    assert field.images[0].planes[0].url.endswith("A01_t02_DNA.tif")


def test_time_points_of_imagexpress(tmp_path: Path):
    """The names of folders give them; a store of one needs no other folder as RAW."""
    htd = '"HTSInfoFile", Version 1.0\n"TimePoints", 2\n"XWells", 1\n"YWells", 1\n'
    htd += '"WellsSelection1", TRUE\n"Sites", FALSE\n"Waves", TRUE\n"NWavelengths", 1\n'
    htd += '"WaveName1", "DAPI"\n"EndFile"\n'
    (tmp_path / "P.HTD").write_text(htd)
    raw = touch(tmp_path, "TimePoint_1/P_A01.TIF", "TimePoint_2/P_A01.TIF")
    (field,) = list_fields(raw, LayoutSettings(time_point="2")).fields
    assert field.images[0].planes[0].url == str(raw / "TimePoint_2/P_A01.TIF")
