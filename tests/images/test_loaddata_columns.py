"""LoadData tables under the column names of CellProfiler, its database, and public data sets."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from phenomae.images.layouts.loaddata import find_loaddata
from phenomae.images.platemap.settings import PlateMapSettings
from phenomae.images.read import list_fields, read_field
from phenomae.images.settings import LayoutSettings
from phenomae.store.inventory import IngestSettings, take_inventory

Listed = dict[tuple[str, str, int], dict[str, int]]


def write_image(path: Path, level: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, np.full((8, 9), level, np.uint16))


def levels(raw: Path, **settings) -> Listed:
    """The level of each field's channels."""
    plates = list_fields(raw, LayoutSettings(**settings))
    assert plates.skipped == ()
    return {
        (field.plate, field.well, field.site): dict(
            zip(plates.channels, read_field(field)[:, 0, 0].tolist(), strict=True)
        )
        for field in plates.fields
    }


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Two wells of two channels in the folder images: 11, 12 in A01, 21, 22 in B02."""
    for row, well in enumerate(("A01", "B02"), start=1):
        for number, channel in enumerate(("DNA", "ER"), start=1):
            write_image(tmp_path / f"images/{well}_{channel}.tif", 10 * row + number)
    return tmp_path


EXPECTED: Listed = {("P", "A01", 1): {"DNA": 11, "ER": 12}, ("P", "B02", 1): {"DNA": 21, "ER": 22}}
FORMS = {
    "FileName_DNA": "FileName_{}",
    "FileName_OrigDNA": "FileName_Orig{}",
    "Image_FileName_DNA": "Image_FileName_{}",
    "Image_FileName_OrigDNA": "Image_FileName_Orig{}",
}
NAMED = ["Metadata_Well", "Image_Metadata_CPD_WELL_POSITION", "well_position", "Metadata_WellName"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("well", NAMED)
@pytest.mark.parametrize("name", ["load_data.csv", "BBBC000_v1_image.csv", "my list.tsv"])
def test_every_form_of_the_columns_gives_the_same_fields(
    images: Path, form: str, well: str, name: str
):
    dna, er = (FORMS[form].format(channel) for channel in ("DNA", "ER"))
    folders = [column.replace("FileName", "PathName") for column in (dna, er)]
    plate = "Image_Metadata_PlateID" if form.startswith("Image") else "Metadata_Plate"
    rows = [
        [dna, folders[0], er, folders[1], plate, well],
        ["A01_DNA.tif", "images", "A01_ER.tif", "images", "P", "a1"],
        ["B02_DNA.tif", "images", "B02_ER.tif", "images", "P", "b02"],
    ]
    separator = "\t" if name.endswith("tsv") else ","
    (images / name).write_text("".join(separator.join(row) + "\n" for row in rows))
    assert levels(images) == levels(images / name, layout="loaddata") == EXPECTED


@pytest.mark.parametrize("folder", ["", "images/", "images\\"])
def test_without_a_path_the_images_are_beside_the_table(images: Path, folder: str):
    """Or in the folder that the file name has in front."""
    table = images / ("load_data.csv" if folder else "images/load_data.csv")
    rows = [f"P,{well},{folder}{well}_DNA.tif,{folder}{well}_ER.tif\n" for well in ("A01", "B02")]
    table.write_text("Plate,Well,FileName_DNA,FileName_ER\n" + "".join(rows))
    assert levels(table.parent) == EXPECTED


def test_plate_and_well_may_have_a_column_for_each_channel(images: Path):
    """As in BBBC021."""
    table = images / "image.csv"
    head = "FileName_DNA,FileName_ER,Metadata_Plate_DNA,Metadata_Well_DNA,Metadata_Well_ER\n"
    rows = [f"images/{w}_DNA.tif,images/{w}_ER.tif,P,{w},{w}\n" for w in ("A01", "B02")]
    table.write_text(head + "".join(rows))
    assert levels(images) == EXPECTED
    table.write_text(head + "a.tif,b.tif,P,A01,A02\n" + rows[1])
    plates = list_fields(images)
    assert [str(problem) for problem in plates.skipped] == [
        f"{table}, line 2: its Metadata_Well_DNA is A01, but its Metadata_Well_ER is A02"
    ]


def test_rows_without_a_site_are_numbered(images: Path, capsys: pytest.CaptureFixture[str]):
    """BBBC021 has four rows a well and no column that tells them apart."""
    for number in range(1, 4):
        write_image(images / f"more/A01_{number}.tif", number)
    rows = ["P,A02,A01_3.tif,more\n", "P,A01,A01_2.tif,more\n", "P,A01,A01_1.tif,more\n"]
    (images / "load_data.csv").write_text(
        "Metadata_Plate,Metadata_Well,FileName_DNA,PathName_DNA\n" + "".join([*rows, rows[1]])
    )
    assert levels(images) == {
        ("P", "A01", 1): {"DNA": 2},
        ("P", "A01", 2): {"DNA": 1},
        ("P", "A02", 1): {"DNA": 3},
    }
    assert "has no column of sites: the rows of a well are its sites" in capsys.readouterr().err


def test_only_originals_are_channels_where_there_are_some(
    images: Path, capsys: pytest.CaptureFixture[str]
):
    """A table that CellProfiler exports also names the pictures that it saved."""
    head = "Metadata_Plate,Metadata_Well,FileName_Outlines,FileName_OrigDNA,FileName_IllumDNA"
    (images / "Image.csv").write_text(f"{head}\nP,A01,o.png,images/A01_DNA.tif,i.npy\n")
    assert levels(images) == {("P", "A01", 1): {"DNA": 11}}
    assert "ignored the images of Outlines, which are not originals" in capsys.readouterr().err


@pytest.mark.parametrize(("size", "number"), [(96, "14"), (96, "014"), (384, "26"), (24, "8")])
def test_wells_by_number(images: Path, size: int, number: str):
    """B02 is well 14 of 12 columns, 26 of 24, 8 of 6, counted row by row."""
    (images / "load_data.csv").write_text(
        "Metadata_Plate,Metadata_Well,FileName_DNA,PathName_DNA\n"
        f"P,1,A01_DNA.tif,images\nP,{number},B02_DNA.tif,images\n"
    )
    assert [field[1] for field in levels(images, plate_size=size)] == ["A01", "B02"]
    with pytest.raises(ValueError, match=r"needs the size of the plate \(setting plate_size\)"):
        take_inventory(images, IngestSettings(workers=1))


def test_settings_name_the_columns_of_plate_and_well(images: Path):
    (images / "load_data.csv").write_text(
        "Metadata_Plate,Metadata_Well,Metadata_Run,Where,R,C,FileName_DNA\n"
        "P,H12,Q,A01,1,1,images/A01_DNA.tif\n"
    )
    assert list(levels(images)) == [("P", "H12", 1)]
    assert list(levels(images, well_column="Where")) == [("P", "A01", 1)]
    assert list(levels(images, well_column="R,C", plate_column="Run")) == [("Q", "A01", 1)]
    settings = IngestSettings(workers=1, well_column="Were", unmapped="keep")
    with pytest.raises(ValueError, match=r"no column 'Were' \(setting well_column\), and no plate"):
        take_inventory(images, settings)


@pytest.mark.parametrize("column", ["well", "Where"])
def test_the_plate_map_may_have_another_column_of_wells(images: Path, column: str):
    (images / "load_data.csv").write_text(
        "Metadata_Plate,Metadata_Well,Where,FileName_DNA\nP,H12,A01,images/A01_DNA.tif\n"
    )
    (images / "plate_map.csv").write_text(f"plate,{column},gene\nP,A01,TP53\n")
    found = take_inventory(images, IngestSettings(workers=1, well_column="Where"))
    assert found.table["gene"].to_list() == ["TP53"]
    (images / "plate_map.csv").write_text("plate,spot,gene\nP,A01,TP53\n")
    with pytest.raises(ValueError, match=r"plate_map.csv has no column 'well' \(setting well_col"):
        take_inventory(images, IngestSettings(workers=1, well_column="Where"))


def test_a_column_of_the_plate_map_alone_is_no_column_of_the_images(images: Path):
    (images / "load_data.csv").write_text(
        "Metadata_Plate,Metadata_Well,FileName_DNA\nP,A01,images/A01_DNA.tif\n"
    )
    (images / "plate_map.csv").write_text("plate,Spot,gene\nP,A01,TP53\n")
    assert PlateMapSettings(well_column="Spot").well_column == "Spot"
    found = take_inventory(images, IngestSettings(workers=1, well_column="Spot"))
    assert found.table["gene"].to_list() == ["TP53"]


@pytest.mark.parametrize(
    "text",
    [
        "FileName_DNA,compound\na.tif,x\n",
        "Metadata_Well,Metadata_Plate\nA01,P\n",
        "plate,well,gene\nP,A01,TP53\n",
        "",
    ],
)
def test_a_table_without_images_or_wells_is_not_a_list_of_images(tmp_path: Path, text: str):
    (tmp_path / "table.csv").write_text(text)
    (tmp_path / ".hidden.csv").write_text("FileName_DNA,Metadata_Well\na,A01\n")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    (tmp_path / "broken.csv.gz").write_bytes(b"\x1f\x8b")
    assert find_loaddata(tmp_path) == []


def test_a_series_beyond_the_first_is_a_problem(images: Path):
    (images / "load_data.csv").write_text(
        "Metadata_Plate,Metadata_Well,FileName_DNA,Series_DNA,Frame_DNA\n"
        "P,A01,images/A01_DNA.tif,0,0\nP,B02,images/B02_DNA.tif,1,0\n"
    )
    plates = list_fields(images)
    assert read_field(plates.fields[0])[0, 0, 0] == 11
    (problem,) = plates.skipped
    assert str(problem).endswith("names series 1 of images/B02_DNA.tif: only series 0 is read")
