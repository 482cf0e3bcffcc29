"""LoadData CSVs: PathName in every form, one CSV or several, and what can be wrong with them."""

import gzip
from pathlib import Path

import polars as pl
import pytest

from phenomae.images.fields import Listing, Problem
from phenomae.images.layouts.loaddata import find_loaddata, list_loaddata
from phenomae.images.read import list_fields, read_field, read_headers
from phenomae.images.settings import LayoutSettings

HEAD = "Metadata_Plate,Metadata_Well,Metadata_Site,FileName_OrigDNA,PathName_OrigDNA\n"
ILLUM = HEAD.rstrip() + ",FileName_IllumDNA,PathName_IllumDNA\n"


def listed(raw: Path, **settings) -> Listing:
    return list_loaddata(raw, find_loaddata(raw), LayoutSettings(**settings))


def urls(listing: Listing) -> list[str]:
    return [file.place.url for file in listing.files]


def test_fields_come_sorted_with_channels_in_the_order_of_the_columns(write_screen):
    raw = write_screen(plates=("P2", "P1"), wells=("B01", "A10", "A02"), channels=("ER", "DNA"))
    plates = list_fields(raw)
    assert plates.channels == ("ER", "DNA")
    assert plates.plate_names == ["P1", "P2"]
    assert [(f.plate, f.well, f.site) for f in plates.fields[:5]] == [
        ("P1", "A02", 1),
        ("P1", "A02", 2),
        ("P1", "A10", 1),
        ("P1", "A10", 2),
        ("P1", "B01", 1),
    ]
    (place,) = plates.fields[0].images[1].planes
    assert place.url == str(raw / "images/P1/A02_s1_DNA.tiff")


def test_rows_beyond_z_come_after_z(write_screen):
    plates = list_fields(write_screen(wells=("AA01", "Z01", "B11"), sites=1))
    assert [field.well for field in plates.fields] == ["B11", "Z01", "AA01"]


@pytest.mark.parametrize("form", ["images/P1", "images/P1/", "./images/P1", "{raw}/images/P1/"])
def test_pathname_may_be_relative_or_absolute_with_or_without_slash(write_screen, form):
    raw = write_screen()
    expected = [Path(url).resolve() for url in urls(listed(raw))]
    csv = raw / "load_data.csv"
    csv.write_text(csv.read_text().replace("images/P1", form.format(raw=raw)))
    for start in (raw, csv):
        assert [Path(url).resolve() for url in urls(listed(start))] == expected
        assert all(Path(url).is_file() for url in urls(listed(start)))


def test_pathname_of_another_machine_is_kept_and_images_finds_the_files(write_screen):
    raw = write_screen()
    csv = raw / "load_data.csv"
    csv.write_text(csv.read_text().replace("images/P1", "/mnt/bucket/batch/images/P1/"))
    assert urls(listed(raw))[0] == "/mnt/bucket/batch/images/P1/A01_s1_DNA.tiff"
    _, problems = read_headers(list_fields(raw).fields, workers=1)
    assert len(problems) == 12
    assert str(problems[0]).startswith("there is no file /mnt/bucket")
    moved = raw / "images"
    assert urls(listed(raw, images=moved))[0] == str(moved / "P1/A01_s1_DNA.tiff")


def test_several_csvs_are_read_together_and_a_row_listed_twice_is_read_once(write_screen):
    raw = write_screen(plates=("P1", "P2"))
    lines = (raw / "load_data.csv").read_text().splitlines(keepends=True)
    (raw / "load_data.csv").unlink()
    folder = raw / "csvs"
    folder.mkdir()
    text = "".join(lines[:1] + lines[7:]).replace("images/", "../images/")
    (folder / "Load_Data_P2.csv").write_text(text)
    (folder / "load_data_P2_with_illum.csv").write_text(text)
    (folder / "load_data_P1.csv").write_text("".join(lines[:7]).replace("images/", "../images/"))
    (folder / "._load_data_P1.csv").write_bytes(b"\x00\x05\x16\x07")  # as a Mac leaves
    plates = list_fields(raw)
    assert (len(plates.fields), plates.skipped) == (12, ())


def test_the_forms_in_which_jump_keeps_a_table_are_read_once(write_screen):
    raw = write_screen()
    csv = raw / "load_data.csv"
    by_csv = listed(raw)
    (raw / "load_data.csv.gz").write_bytes(gzip.compress(csv.read_bytes()))
    pl.read_csv(csv).write_parquet(raw / "load_data.parquet")
    both = listed(raw)
    assert urls(both) == urls(by_csv)
    assert both.ignored == {"LoadData tables that exist in another form": 2}
    csv.unlink()
    assert listed(raw).files == by_csv.files
    (raw / "load_data.csv.gz").unlink()
    assert listed(raw).files == by_csv.files
    for start in (raw, raw / "load_data.parquet"):
        assert [path.name for path in find_loaddata(start)] == ["load_data.parquet"]


def test_a_table_of_another_name_is_known_by_its_columns(tmp_path: Path):
    (tmp_path / "mine.csv").write_text(HEAD + "P,A01,1,a.tif,b\n")
    (tmp_path / "other.csv").write_text("well_id,experiment\n1,2\n")
    assert find_loaddata(tmp_path / "mine.csv") == [tmp_path / "mine.csv"]
    assert find_loaddata(tmp_path / "other.csv") == []
    assert find_loaddata(tmp_path) == [tmp_path / "mine.csv"]


def test_bom_spaces_plate_numbers_and_small_letters(tmp_path: Path):
    csv = tmp_path / "load_data.csv"
    csv.write_bytes(b"\xef\xbb\xbf" + (HEAD + "0042, a1 ,01,a file #1.TIF,\n").encode())
    (file,) = listed(csv).files
    assert (file.plate, file.well, file.site) == ("0042", "A01", 1)
    assert file.place.url == str(tmp_path / "a file #1.TIF")


def test_addresses_of_the_cell_painting_gallery(tmp_path: Path):
    folder = "s3://cellpainting-gallery/cpg0016-jump/source_4/images/B1/images/BR1__2021/Images"
    (tmp_path / "load_data.csv").write_text(
        "Metadata_Plate,Metadata_Well,Metadata_Site,"
        "FileName_OrigDNA,PathName_OrigDNA,URL_OrigER,FileName_OrigER\n"
        f"BR1,A01,1,r01c01 #1.tiff,{folder}/,{folder}/r01c01-ch2.tiff,r01c01-ch2.tiff\n"
    )
    dna, er = listed(tmp_path).files
    assert dna.place.url == f"{folder}/r01c01 #1.tiff"
    assert er.place.url == str(tmp_path / "r01c01-ch2.tiff")  # no folder: beside the CSV
    assert er.acquisition == ""
    (tmp_path / "load_data.csv").write_text(
        f"Metadata_Plate,Metadata_Well,URL_OrigDNA,URL_OrigER\nBR1,A01,{folder}/a.tiff,"
        f"{folder}/b.tiff\n"
    )
    dna, er = listed(tmp_path).files
    assert (dna.place.url, dna.channel) == (f"{folder}/a.tiff", "DNA")
    assert (er.acquisition, dna.acquisition) == (folder, folder)
    moved = tmp_path / "BR1__2021/Images"
    moved.mkdir(parents=True)
    assert urls(listed(tmp_path, images=tmp_path)) == [str(moved / "a.tiff"), str(moved / "b.tiff")]


def test_illumination_is_listed_if_it_is_used(tmp_path: Path):
    row = "P,A01,1,a.tif,images,P_IllumDNA.npy,/illum/P\n"
    (tmp_path / "load_data.csv").write_text(HEAD + "P,A01,1,a.tif,images\n")
    (tmp_path / "load_data_with_illum.csv").write_text(ILLUM + row)
    assert [file.illumination for file in listed(tmp_path).files] == [None]  # the same file twice
    (file,) = listed(tmp_path, illumination="divide").files
    assert str(file.illumination) == "/illum/P/P_IllumDNA.npy"
    (tmp_path / "load_data_with_illum.csv").write_text(ILLUM + row.replace("P_IllumDNA.npy", ""))
    (problem,) = listed(tmp_path, illumination="divide").problems
    assert str(problem).endswith("line 2: it names no illumination function for channel DNA")
    assert (problem.plate, problem.well, problem.site) == ("P", "A01", 1)


def test_illumination_is_needed_for_what_is_kept_only(tmp_path: Path):
    (tmp_path / "load_data.csv").write_text(
        ILLUM.rstrip() + ",URL_OrigER,URL_OrigBrightfield\nP,A01,1,a.tif,b,c.npy,d,e.tif,f.tif\n"
    )
    with pytest.raises(ValueError, match=r"no columns FileName_IllumER and PathName_IllumER, whi"):
        listed(tmp_path, illumination="divide")
    with pytest.raises(ValueError, match=r"no columns FileName_IllumBrightfield and"):
        listed(tmp_path, illumination="divide", channels="Brightfield=BF,DNA")
    listing = listed(tmp_path, illumination="divide", channels="DNA=Nuclei")
    assert [bool(file.illumination) for file in listing.files] == [True, False, False]


def test_a_field_whose_channels_have_folders_of_their_own_is_one_acquisition(tmp_path: Path):
    (tmp_path / "load_data.csv").write_text(
        "Metadata_Plate,Metadata_Well,FileName_OrigA,PathName_OrigA,FileName_OrigB,PathName_OrigB\n"
        "P,A01,1.tif,/s/run 1/A,1.tif,/s/run 1/B\nP,A01,1.tif,/s/run 2/A,1.tif,/s/run 2/B\n"
    )
    assert [file.acquisition for file in listed(tmp_path).files] == [
        "/s/run 1",
        "/s/run 1",
        "/s/run 2",
        "/s/run 2",
    ]


def test_rows_of_one_field_are_imagings_in_their_order(tmp_path: Path):
    rows = "P,A01,1,b.tif,\nP,A02,1,c.tif,\nP,A01,1,a.tif,\n"
    (tmp_path / "load_data.csv").write_text(HEAD + rows)
    assert [(file.place.url[-5:], file.imaging) for file in listed(tmp_path).files] == [
        ("b.tif", "0"),
        ("c.tif", "0"),
        ("a.tif", "1"),
    ]


def test_what_pe2loaddata_writes_beside_plate_well_and_site(tmp_path: Path):
    (tmp_path / "load_data.csv").write_text(
        "Metadata_Plate,Metadata_Row,Metadata_Col,Metadata_FieldID,Metadata_PlaneID,"
        "Metadata_ImageResolutionX,URL_OrigDNA\n"
        "P,2,11,7,1,5.979760809567617E-07,a\nP,2,11,7,2,5.979760809567617E-07,b\n"
        "Q,2,11,7,2,5E-07,b\nQ,2,11,7,2,6E-07,b\n"
        "R,32,48,7,2,soon,b\n"
    )
    listing = listed(tmp_path)
    assert [(f.well, f.site, f.plane) for f in listing.files[:2]] == [("B11", 7, 1), ("B11", 7, 2)]
    assert listing.files[-1].well == "AF48"
    assert listing.pixel_sizes_um == {"P": pytest.approx(0.5979760809567617)}


def test_the_plate_may_be_set_if_no_column_names_it(tmp_path: Path):
    (tmp_path / "load_data.csv").write_text("Metadata_Well,URL_OrigDNA\nA01,a.tif\n")
    assert listed(tmp_path, plate_name="X").files[0].plate == "X"
    (tmp_path / "load_data.csv").write_text(HEAD + "P,A01,1,a.tif,b\n,A01,1,a.tif,b\n")
    assert [file.plate for file in listed(tmp_path, plate_name="X").files] == ["P", "X"]


@pytest.mark.parametrize(
    ("version", "plate", "channels", "size"),
    [
        (1, "BR00121482", ["RNA", "ER", "AGP", "Mito", "Brightfield", "DNA"], 0.5979760809567617),
        (5, "BR00122249", ["RNA", "ER", "AGP", "Mito", "Brightfield", "DPC"], 0.5979760809567617),
        (
            7,
            "240624_WES_Perturbs_n_densities_1.1",
            ["Actin", "ER", "RNA", "AGP", "Mito", "Brightfield", "DNA"],
            0.296688132474701,
        ),
    ],
)
def test_real_csvs_of_pe2loaddata(shared, version, plate, channels, size):
    folder = shared / f"data/images/phenix_pe2loaddata/Version{version}"
    listing = listed(folder, images=folder / "images")
    assert [file.channel for file in listing.files] == channels
    assert {(f.plate, f.well, f.site, f.plane) for f in listing.files} == {(plate, "A01", 1, 1)}
    assert {Path(url).parent for url in urls(listing)} == {folder / "images"}
    assert listing.pixel_sizes_um == {plate: pytest.approx(size)}
    assert not listing.problems


def test_a_real_field_has_its_stains_and_no_brightfield(shared):
    folder = shared / "data/images/phenix_pe2loaddata/Version1"
    plates = list_fields(folder / "load_data_version1.csv", LayoutSettings(images=folder))
    assert plates.channels == ("RNA", "ER", "AGP", "Mito", "DNA")
    (header,), problems = read_headers(plates.fields, workers=1)
    assert (header.height, header.width, header.dtype) == (1080, 1080, "uint16")
    assert not problems
    assert read_field(plates.fields[0]).shape == (5, 1080, 1080)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "load_data.csv is empty"),
        (HEAD, "has a header but no rows"),
        ("a,b\n1,2\n", "no column Metadata_Plate, and neither setting plate_column nor plate_na"),
        ("Metadata_Plate,Metadata_Row\nP,1\n", "no column Metadata_Well"),
        ("Metadata_Plate,Metadata_Well\nP,A01\n", r"no column FileName_\.\.\. or URL_"),
        (HEAD + "P,A01,1,a.tif,b,too,many,cells\n", "not a readable table"),
    ],
)
def test_what_is_not_a_loaddata_csv_is_an_error(tmp_path: Path, text, sentence):
    (tmp_path / "load_data.csv").write_text(text)
    with pytest.raises(ValueError, match=sentence):
        listed(tmp_path)


@pytest.mark.parametrize(
    ("row", "what", "known"),
    [
        ("P,33,1,a.tif,b", "'33' is not a well", ("P", None, None)),
        ("P,,1,a.tif,b", "'' is not a well", ("P", None, None)),
        ("P,A01,one,a.tif,b", "'one' is not a site", ("P", "A01", None)),
        (",A01,1,a.tif,b", "'' cannot be the name of a plate", (None, None, None)),
        ("../P,A01,1,a.tif,b", "'../P' cannot be the name of a plate", (None, None, None)),
        ("P,A01,1,,b", "it names no image", ("P", "A01", 1)),
        ("P,A01,1,a.tif,gs://b", "gs://b/a.tif cannot be read: expected a path", ("P", "A01", 1)),
        ("P,A01,1,a.tif,file://pc/b", "is on the machine 'pc'", ("P", "A01", 1)),
    ],
)
def test_a_row_that_is_wrong_is_a_problem_and_the_others_are_read(tmp_path, row, what, known):
    csv = tmp_path / "load_data.csv"
    csv.write_text(f"{HEAD}P,A02,1,a.tif,b\n{row}\nP,A03,1,a.tif,b\n")
    listing = listed(tmp_path)
    assert [file.well for file in listing.files] == ["A02", "A03"]
    (problem,) = listing.problems
    assert isinstance(problem, Problem)
    assert str(problem).startswith(f"{csv}, line 3: ")
    assert what in str(problem)
    assert (problem.plate, problem.well, problem.site) == known


def test_a_channel_absent_from_one_site_is_named(write_screen):
    raw = write_screen()
    csv = raw / "load_data.csv"
    csv.write_text(csv.read_text().replace("A02_s2_ER.tiff", ""))
    plates = list_fields(raw)
    assert [str(problem) for problem in plates.skipped] == [
        "plate P1, well A02, site 2 lacks channel ER"
    ]
    only = list_fields(raw, LayoutSettings(channels="DNA"))
    assert (only.channels, only.skipped) == (("DNA",), ())


def test_channels_choose_order_and_rename(write_screen):
    raw = write_screen(channels=("DNA", "ER", "RNA"))
    plates = list_fields(raw, LayoutSettings(channels="RNA, DNA=Nuclei"))
    assert plates.channels == ("RNA", "Nuclei")
    names = [Path(image.planes[0].url).name for image in plates.fields[0].images]
    assert names == ["A01_s1_RNA.tiff", "A01_s1_DNA.tiff"]
    with pytest.raises(ValueError, match=r"no channel 'Actin'.* it has DNA, ER, RNA"):
        list_fields(raw, LayoutSettings(channels="Actin"))
    for twice in ("DNA,DNA", "DNA=A,ER=A", "DNA,", "DNA= "):
        with pytest.raises(ValueError, match="channels repeats a name or has an empty one"):
            list_fields(raw, LayoutSettings(channels=twice))
