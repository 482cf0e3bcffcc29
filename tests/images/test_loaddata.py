"""LoadData CSVs: PathName in every form, one CSV or several, and what can be wrong with them."""

from pathlib import Path

import pytest

from phenomae.images.read import LayoutSettings, list_fields, read_field, read_headers

HEAD = "Metadata_Plate,Metadata_Well,Metadata_Site,FileName_OrigDNA,PathName_OrigDNA\n"


def test_fields_come_sorted_with_channels_in_the_order_of_the_columns(write_screen):
    raw = write_screen(plates=("P2", "P1"), wells=("B01", "A10", "A02"), channels=("ER", "DNA"))
    screen = list_fields(raw)
    assert screen.channels == ("ER", "DNA")
    assert screen.plates == ["P1", "P2"]
    assert [(f.plate, f.well, f.site) for f in screen.fields[:5]] == [
        ("P1", "A02", 1),
        ("P1", "A02", 2),
        ("P1", "A10", 1),
        ("P1", "A10", 2),
        ("P1", "B01", 1),
    ]
    assert screen.fields[0].files[1] == raw / "images/P1/A02_s1_DNA.tiff"


def test_rows_beyond_z_come_after_z(write_screen):
    screen = list_fields(write_screen(wells=("AA01", "Z01", "B11"), sites=1))
    assert [field.well for field in screen.fields] == ["B11", "Z01", "AA01"]


@pytest.mark.parametrize("form", ["images/P1", "images/P1/", "./images/P1", "{raw}/images/P1/"])
def test_pathname_may_be_relative_or_absolute_with_or_without_slash(write_screen, form):
    raw = write_screen()
    expected = [file.resolve() for field in list_fields(raw).fields for file in field.files]
    csv = raw / "load_data.csv"
    csv.write_text(csv.read_text().replace("images/P1", form.format(raw=raw)))
    for start in (raw, csv):
        screen = list_fields(start)
        assert [file.resolve() for field in screen.fields for file in field.files] == expected
        assert len(read_headers(screen, raw, workers=1)) == 6


def test_pathname_of_another_machine_is_told_and_images_finds_the_files(write_screen):
    raw = write_screen()
    csv = raw / "load_data.csv"
    csv.write_text(csv.read_text().replace("images/P1", "/mnt/bucket/batch/images/P1/"))
    with pytest.raises(ValueError, match=r"12 problems: there is no file /mnt/bucket"):
        read_headers(list_fields(raw), raw, workers=1)
    moved = raw / "images"
    screen = list_fields(raw, LayoutSettings(images=moved))
    assert screen.fields[0].files[0] == moved / "P1/A01_s1_DNA.tiff"
    assert len(read_headers(screen, raw, workers=2)) == 6


def test_several_csvs_are_one_screen_and_a_row_listed_twice_is_no_harm(write_screen):
    raw = write_screen(plates=("P1", "P2"))
    lines = (raw / "load_data.csv").read_text().splitlines(keepends=True)
    (raw / "load_data.csv").unlink()
    folder = raw / "csvs"
    folder.mkdir()
    text = "".join(lines[:1] + lines[7:]).replace("images/", "../images/")
    (folder / "Load_Data_P2.csv").write_text(text)
    (folder / "load_data_P2_with_illum.csv").write_text(text)
    (folder / "load_data_P1.csv").write_text("".join(lines[:7]).replace("images/", "../images/"))
    screen = list_fields(raw)
    assert len(screen.fields) == 12
    assert len(read_headers(screen, raw, workers=1)) == 12


def test_bom_spaces_plate_numbers_and_small_letters(tmp_path: Path):
    csv = tmp_path / "load_data.csv"
    csv.write_bytes(b"\xef\xbb\xbf" + (HEAD + "0042, a1 ,01,a file #1.TIF,\n").encode())
    (field,) = list_fields(csv).fields
    assert (field.plate, field.well, field.site) == ("0042", "A01", 1)
    assert field.files == (tmp_path / "a file #1.TIF",)


def test_real_phenix_csv_with_the_path_of_its_makers(shared):
    folder = shared / "data/images/phenix_pe2loaddata/Version1"
    settings = LayoutSettings(images=folder / "images", channels="DNA,ER,RNA,AGP,Mito")
    screen = list_fields(folder / "load_data_version1.csv", settings)
    (header,) = read_headers(screen, folder, workers=1)
    assert (header.height, header.width, header.dtype) == (1080, 1080, "uint16")
    assert screen.fields[0].files[0].name == "r01c01f01p01-ch5sk1fk1fl1.tiff"
    assert read_field(screen.fields[0]).shape == (5, 1080, 1080)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "load_data.csv is empty"),
        (HEAD, "has a header but no row"),
        ("a,b\n1,2\n", "no column Metadata_Plate"),
        (HEAD.replace("PathName_OrigDNA", "x") + "P,A01,1,a,b\n", "no column PathName_OrigDNA"),
        ("Metadata_Plate,Metadata_Well\nP,A01\n", "no column FileName_Orig"),
        (HEAD + "P,33,1,a.tif,b\n", "line 2: '33' is not a well"),
        (HEAD + "P,A01,one,a.tif,b\n", "line 2: 'one' is not a site"),
        (HEAD + ",A01,1,a.tif,b\n", "'' cannot be the name of a plate"),
        (HEAD + "../P,A01,1,a.tif,b\n", "'../P' cannot be the name of a plate"),
        (HEAD + "P,A01,1,,b\n", "holds no images"),
        (HEAD + "P,A01,1,a.tif,b\nP,A01,1,c.tif,b\n", "channel DNA has two files: .*a.tif and .*c"),
        (HEAD + "P,A01,1,a.tif,b,too,many,cells\n", "not a table that can be read"),
    ],
)
def test_a_csv_that_is_wrong_is_told_in_one_sentence(tmp_path: Path, text, sentence):
    (tmp_path / "load_data.csv").write_text(text)
    with pytest.raises(ValueError, match=sentence):
        list_fields(tmp_path)


def test_a_channel_absent_from_one_site_is_named(write_screen):
    raw = write_screen()
    csv = raw / "load_data.csv"
    csv.write_text(csv.read_text().replace("A02_s2_ER.tiff", ""))
    with pytest.raises(ValueError, match="plate P1, well A02, site 2 lacks channel ER"):
        list_fields(raw)
    only = list_fields(raw, LayoutSettings(channels="DNA"))
    assert only.channels == ("DNA",)


def test_channels_choose_order_and_rename(write_screen):
    raw = write_screen(channels=("DNA", "ER", "RNA"))
    screen = list_fields(raw, LayoutSettings(channels="RNA, DNA=Nuclei"))
    assert screen.channels == ("RNA", "Nuclei")
    assert [file.name for file in screen.fields[0].files] == ["A01_s1_RNA.tiff", "A01_s1_DNA.tiff"]
    with pytest.raises(ValueError, match=r"no channel 'Actin'.* it has DNA, ER, RNA"):
        list_fields(raw, LayoutSettings(channels="Actin"))
    for twice in ("DNA,DNA", "DNA=A,ER=A", "DNA,", "DNA= "):
        with pytest.raises(ValueError, match="channels names one twice or none"):
            list_fields(raw, LayoutSettings(channels=twice))


def test_folders_without_a_layout(tmp_path: Path):
    with pytest.raises(ValueError, match="there is no such file or folder"):
        list_fields(tmp_path / "nothing")
    with pytest.raises(ValueError, match=r"is empty: expected load_data.csv"):
        list_fields(tmp_path)
    (tmp_path / "image.tif").touch()
    with pytest.raises(ValueError, match=r"is of no known layout: expected load_data.csv"):
        list_fields(tmp_path)
    with pytest.raises(ValueError, match="is of no known layout"):
        list_fields(tmp_path / "image.tif")
