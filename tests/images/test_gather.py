"""Listed files become fields: planes, repeated acquisitions, and what is missing."""

from pathlib import Path

import pytest

from phenomae.images.fields import Listing, Place, Problem, RawFile
from phenomae.images.gather import gather_fields
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


def test_a_folder_without_images_names_the_first_problem():
    with pytest.raises(ValueError, match=r"^raw holds no images$"):
        gather()
    problems = [Problem("record 1 is wrong"), Problem("record 2 is wrong")]
    with pytest.raises(ValueError, match=r"^raw holds no images: record 1 is wrong$"):
        gather_fields(Listing([], problems=problems), LayoutSettings(), Path("raw"))


def test_a_plate_must_be_a_file_name():
    with pytest.raises(ValueError, match="'a/b' cannot be the name of a plate"):
        gather(file("x.tif", plate="a/b"))
