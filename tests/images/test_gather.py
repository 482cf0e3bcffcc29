"""Listed files become fields: planes, repeated acquisitions, and what is missing."""

from dataclasses import replace
from pathlib import Path

import pytest

from phenomae.images.fields import Listing, Place, Problem, RawFile
from phenomae.images.gather import gather_fields
from phenomae.images.platemap.match import match_wells
from phenomae.images.platemap.plate_map import read_plate_map
from phenomae.images.platemap.settings import PlateMapSettings
from phenomae.images.read import list_fields
from phenomae.images.settings import LayoutSettings


def file(name: str, plate: str = "P1", plane: int = 1, channel: str = "DNA") -> RawFile:
    return RawFile(plate, "A01", 1, channel, Place(name), plane, acquisition=Path(name).parent.name)


def gather(*files: RawFile, **settings: str):
    return gather_fields(Listing(files), LayoutSettings(**settings), Path("raw"))  # type: ignore[arg-type]


def test_planes_are_projected_or_chosen_and_a_missing_one_is_a_problem():
    stack = [file(f"r/{plane}.tif", plane=plane) for plane in (3, 1)]
    single = file("r/er.tif", plane=7, channel="ER")
    dna, er = gather(*stack, single).fields[0].images
    assert dna.planes == (Place("r/1.tif"), Place("r/3.tif"))
    assert er.planes == (Place("r/er.tif"),)
    dna, er = gather(*stack, single, plane="3").fields[0].images
    assert (dna.planes, er.planes) == ((Place("r/3.tif"),), (Place("r/er.tif"),))
    plates = gather(*stack, single, plane="2")
    assert plates.fields == ()
    assert [str(problem) for problem in plates.skipped] == [
        "plate P1, well A01, site 1, channel DNA lacks plane 2"
    ]


def test_repeated_acquisitions_become_plates_of_their_own():
    twice = [file("second/a.tif"), file("first/a.tif"), file("first/b.tif", plate="P2")]
    plates = gather(*twice, duplicates="apart")
    assert plates.plate_names == ["P1", "P1-2", "P2"]
    assert plates.original_plates == {"P1-2": "P1"}
    places = {field.plate: field.images[0].planes[0].url for field in plates.fields}
    assert places == {"P1": "first/a.tif", "P1-2": "second/a.tif", "P2": "first/b.tif"}
    (problem,) = gather(*twice).skipped
    assert str(problem) == (
        "plate P1, well A01, site 1, channel DNA has two files: second/a.tif and first/a.tif "
        "(setting duplicates: first, last or apart reads such plates)"
    )
    with pytest.raises(ValueError, match="would rename a plate to P1-2, but there is such a plate"):
        gather(*twice, file("first/c.tif", plate="P1-2"), duplicates="apart")


CYCLES = [
    *(file(f"{folder}/dna.tif") for folder in ("c1", "c2", "c10")),
    *(file(f"{folder}/er.tif", channel="ER") for folder in ("c1",)),
    *(file(f"{folder}/rna.tif", channel="RNA") for folder in ("c2", "c10")),
]


@pytest.mark.parametrize(
    ("policy", "urls"),
    [
        ("first", ["c1/dna.tif", "c1/er.tif", "c2/rna.tif"]),
        ("last", ["c10/dna.tif", "c1/er.tif", "c10/rna.tif"]),
    ],
)
def test_cycles_that_share_a_stain_keep_all_others(policy: str, urls: list[str]):
    """Each channel is that of the first or last acquisition that has it."""
    plates = gather(*CYCLES, duplicates=policy)
    assert (plates.channels, plates.skipped) == (("DNA", "ER", "RNA"), ())
    assert [image.planes[0].url for image in plates.fields[0].images] == urls


def test_imagings_of_the_same_channels_are_not_mixed():
    """The first acquisition lacks ER here, but has it elsewhere on the plate."""
    files = [file(f"{c}/{n}.tif", channel=n) for c in ("c1", "c2") for n in ("DNA", "ER")]
    others = [replace(one, well="A02", place=Place(f"{one.place}2")) for one in files]
    plates = gather(
        *files, *(one for one in others if one.place.url != "c1/ER.tif2"), duplicates="first"
    )
    assert [field.well for field in plates.fields] == ["A01"]
    assert [str(problem) for problem in plates.skipped] == [
        "plate P1, well A02, site 1 lacks channel ER"
    ]


def test_repeated_channels_that_are_not_read_are_no_problem():
    (problem,) = gather(*CYCLES[:4], channels="DNA,ER").skipped
    assert "channel DNA has two files" in str(problem)
    plates = gather(*CYCLES[:4], channels="ER")
    assert plates.skipped == ()
    assert [image.planes[0].url for image in plates.fields[0].images] == ["c1/er.tif"]
    bright = [file(f"{c}/bf.tif", channel="Brightfield") for c in ("c1", "c2")]
    assert gather(*bright, file("c1/er.tif", channel="ER")).skipped == ()


def in_one_folder(*imagings: tuple[str, str], well: str = "A01") -> list[RawFile]:
    """Files of two channels of a well, of (name, imaging), all in one folder."""
    return [
        RawFile("P1", well, 1, channel, Place(f"r/{well}{name}{channel}"), 1, "r", None, imaging)
        for name, imaging in imagings
        for channel in ("DNA", "ER")
    ]


@pytest.mark.parametrize(("policy", "name"), [("first", "T2"), ("last", "T10")])
def test_imagings_in_one_folder_are_told_apart_by_name(policy: str, name: str):
    times = [("T10", "T10"), ("T2", "T2"), ("T9", "T9")]
    files = [*in_one_folder(*times), *in_one_folder(*times[::2], well="A02")]
    plates = gather(*files, duplicates=policy)
    assert plates.skipped == ()
    places = [[image.planes[0].url for image in field.images] for field in plates.fields]
    other = "T9" if policy == "first" else "T10"
    assert places == [
        [f"r/A01{name}DNA", f"r/A01{name}ER"],
        [f"r/A02{other}DNA", f"r/A02{other}ER"],
    ]


def test_imagings_in_one_folder_become_plates():
    files = [*in_one_folder(("b", "T10"), ("a", "T9")), *in_one_folder(("c", "T9"), well="A02")]
    plates = gather(*files, duplicates="apart")
    assert [
        (field.plate, field.well, field.images[0].planes[0].url) for field in plates.fields
    ] == [
        ("P1", "A01", "r/A01aDNA"),
        ("P1", "A02", "r/A02cDNA"),
        ("P1-2", "A01", "r/A01bDNA"),
    ]
    assert plates.original_plates == {"P1-2": "P1"}


@pytest.mark.parametrize("policy", ["error", "first", "last", "apart"])
@pytest.mark.parametrize(
    "files",
    [
        in_one_folder(("a", ""), ("b", "")),
        # Names of which every file has another: a GUID, a time of day.
        [
            RawFile("P1", "A01", 1, channel, Place(name), 1, "r", None, name)
            for channel, name in (("DNA", "p"), ("DNA", "q"), ("ER", "x"), ("ER", "y"))
        ],
        # Of one channel each, but other names in every well.
        [
            RawFile("P1", well, 1, "DNA", Place(name), 1, "r", None, name)
            for well, name in (("A01", "p"), ("A01", "q"), ("A02", "x"), ("A02", "y"))
        ],
    ],
)
def test_imagings_that_nothing_tells_apart_are_an_error(files: list[RawFile], policy: str):
    plates = gather(*files, duplicates=policy)
    assert plates.fields == ()
    assert "two files" in str(plates.skipped[0])
    assert "let a pattern take the part of the name that differs as (?P<acquisition>...)" in str(
        plates.skipped[0]
    )


def test_folders_are_in_natural_order():
    files = [file(f"Measurement{number}/a.tif") for number in (2, 9, 10)]
    for policy, number in (("first", 2), ("last", 10)):
        (field,) = gather(*files, duplicates=policy).fields
        assert field.images[0].planes == (Place(f"Measurement{number}/a.tif"),)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"plate": "P2"}, "plate P2, well A01, site 1, channel DNA, plane 1"),
        ({"well": "A02"}, "plate P1, well A02, site 1, channel DNA, plane 1"),
        ({"site": 2}, "plate P1, well A01, site 2, channel DNA, plane 1"),
        ({"channel": "ER"}, "plate P1, well A01, site 1, channel ER, plane 1"),
        ({"plane": 2}, "plate P1, well A01, site 1, channel DNA, plane 2"),
    ],
)
def test_a_file_that_serves_two_images_is_an_error_that_names_both(change: dict, words: str):
    one, good = file("r/a.tif"), replace(file("r/b.tif"), well="C03")
    plates = gather(one, replace(one, **change), good)
    assert [field.well for field in plates.fields] == ["C03"]
    first = "plate P1, well A01, site 1, channel DNA, plane 1"
    said = [str(problem) for problem in plates.skipped]
    assert said[0] == f"{first}, has the file of {words}: r/a.tif"
    other_field = "channel" not in change and "plane" not in change
    assert said[1:] == [f"{words}, has the file of {first}: r/a.tif"] * other_field


def test_a_field_without_any_chosen_channel_is_a_problem():
    other = replace(file("r/b.tif", channel="ER"), well="A02")
    plates = gather(file("r/a.tif"), other, channels="DNA")
    assert [field.well for field in plates.fields] == ["A01"]
    assert [str(problem) for problem in plates.skipped] == [
        "plate P1, well A02, site 1 lacks channel DNA"
    ]


def test_a_folder_without_images_names_the_first_problem():
    with pytest.raises(ValueError, match=r"^raw holds no images$"):
        gather()
    problems = [Problem("record 1 is wrong"), Problem("record 2 is wrong")]
    with pytest.raises(ValueError, match=r"^raw holds no images: record 1 is wrong$"):
        gather_fields(Listing([], problems=problems), LayoutSettings(), Path("raw"))


def test_a_plate_must_be_a_file_name():
    with pytest.raises(ValueError, match="'a/b' cannot be the name of a plate"):
        gather(file("x.tif", plate="a/b"))


CAFE, CAFE_OF_MACOS = "Caf\u00e9", "Cafe\u0301"


def test_names_of_files_are_composed_as_those_of_tables_are():
    listing = Listing(
        [file("a.tif", CAFE_OF_MACOS, channel=f"{CAFE_OF_MACOS} 488"), file("b.tif", "P2")],
        pixel_sizes_um={CAFE_OF_MACOS: 0.5, "P2": 0.6},
        problems=[Problem("what", CAFE_OF_MACOS), Problem("else")],
    )
    for channels in (f"{CAFE} 488", f"{CAFE_OF_MACOS} 488"):
        plates = gather_fields(listing, LayoutSettings(channels=channels), Path("raw"))
        assert plates.plate_names == [CAFE]
        assert plates.channels == (f"{CAFE} 488",)
        assert plates.pixel_sizes_um == {CAFE: 0.5}
        assert [problem.plate for problem in plates.skipped] == [CAFE, None, "P2"]


def test_a_plate_is_found_in_the_plate_map_whatever_form_its_folder_has(tmp_path):
    for plate in (CAFE_OF_MACOS, "A\u030angstro\u0308m", "\u1100\u1161"):  # Korean, too
        (tmp_path / plate).mkdir()
        (tmp_path / plate / "A01_DNA.tif").touch()
    pattern = r"(?P<plate>[^/]+)/(?P<well>A\d\d)_(?P<channel>\w+)\.tif"
    plates = list_fields(tmp_path, LayoutSettings(pattern=pattern))
    names = ["Caf\u00e9", "\u00c5ngstr\u00f6m", "\uac00"]
    (tmp_path / "map.csv").write_text("plate,well\n" + "".join(f"{name},A01\n" for name in names))
    table = read_plate_map(tmp_path / "map.csv", PlateMapSettings(), plates.plate_names)
    assert match_wells(plates, table, tmp_path / "map.csv", PlateMapSettings()) == plates
    assert plates.plate_names == sorted(names)


def test_two_forms_of_one_name_are_one_plate():
    one, other = file("a/x.tif", CAFE), file("b/x.tif", CAFE_OF_MACOS)
    (problem,) = gather(one, other).skipped
    assert "has two files: a/x.tif and b/x.tif" in str(problem)
