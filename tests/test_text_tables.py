"""Tables of every format are read as the same text; other files are an error."""

import gzip
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from phenomae.text_tables import read_lines, read_table

TEXT = "plate, site ,depth\n0042, 1,0.5\nP#2,,\n"
ROWS = [("0042", "1", "0.5"), ("P#2", None, None)]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("t.csv", TEXT.encode()),
        ("t.CSV", b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").encode()),
        ("t.cr.csv", TEXT.replace("\n", "\r").encode()),
        ("t.tsv", TEXT.replace(",", "\t").encode()),
        ("t.txt", TEXT.replace(",", "\t").encode()),
        ("load.data.csv.gz", gzip.compress(TEXT.encode(), mtime=0)),
        ("t.txt.gz", gzip.compress(TEXT.replace(",", "\t").encode(), mtime=0)),
    ],
)
def test_text_by_its_suffix(tmp_path: Path, name, data):
    (tmp_path / name).write_bytes(data)
    table = read_table(tmp_path / name)
    assert table.columns == ["plate", "site", "depth"]
    assert table.rows() == ROWS


@pytest.mark.parametrize("name", ["t.csv", "t.txt", "t.tsv", "t"])
@pytest.mark.parametrize("separator", [",", "\t", ";"])
def test_the_separator_is_that_of_the_header(tmp_path: Path, name: str, separator: str):
    """Whatever the name is; separators in quotes and in later lines do not count."""
    head = separator.join(["plate", '"dose; um, \tfinal"', "note"])
    row = separator.join(["P1", "0.5" if separator != ";" else "0,5", '"a,b;c\td,,;;"'])
    (tmp_path / name).write_text(f"{head}\n{row}\n{separator * 2}\n")
    table = read_table(tmp_path / name)
    assert table.columns == ["plate", "dose; um, \tfinal", "note"]
    assert table.rows() == [("P1", "0.5", "a,b;c\td,,;;")]


@pytest.mark.parametrize("separator", [",", "\t", ";"])
def test_a_name_that_is_there_twice_and_columns_without_one(tmp_path: Path, separator: str):
    path = tmp_path / "t.csv"
    for names in (
        ["well", "gene", "gene"],
        ["gene", "well", '" gene"'],
        ["\ufeffgene", "x", "gene "],
    ):
        path.write_text(separator.join(names) + "\n" + separator.join(["A01", "B", "C"]) + "\n")
        with pytest.raises(ValueError, match=r"t.csv has the column 'gene' twice, ignoring spaces"):
            read_table(path)
    # As pandas writes an index, and spreadsheets what lies beside a table.
    path.write_text("\n".join(separator.join(row) for row in (["", "gene", " ", ""], [*"0A1", ""])))
    table = read_table(path)
    assert table.columns == ["column 1", "gene", "column 3", "column 4"]
    assert table.rows() == [("0", "A", "1", None)]


def test_a_header_of_several_lines(tmp_path: Path):
    (tmp_path / "t.csv").write_text('"dose\n(um)",gene\n1,A\n')
    assert read_table(tmp_path / "t.csv").rows(named=True) == [{"dose\n(um)": "1", "gene": "A"}]


def test_rows_that_are_empty_are_left_out_and_lines_stay(tmp_path: Path):
    (tmp_path / "t.csv").write_text("a,b\n,\n1,2\n ,\n3,\n,\n")
    table, lines = read_lines(tmp_path / "t.csv")
    assert table.rows() == [("1", "2"), ("3", None)]
    assert lines == [3, 5]
    (tmp_path / "t.csv").write_text("a,b\n,\n,\n")
    with pytest.raises(ValueError, match="a header but no rows"):
        read_table(tmp_path / "t.csv")


def test_parquet_is_text_too(tmp_path: Path):
    path = tmp_path / "t.parquet"
    frame = pd.DataFrame(
        {
            "plate": pd.Categorical(["0042", " P#2 "]),
            "site": [1.0, float("nan")],  # a whole number, before pandas met what is missing
            "depth": [0.5, float("nan")],
            "control": [True, False],
            "count": [7, 8],
        }
    )
    frame.to_parquet(path)
    assert read_table(path).rows() == [
        ("0042", "1", "0.5", "true", "7"),
        ("P#2", None, None, "false", "8"),
    ]


def test_a_folder_named_like_a_value_is_no_column(tmp_path: Path):
    folder = tmp_path / "plate=7"
    folder.mkdir()
    pq.write_table(pa.table({"site": [1]}), folder / "t.parquet")
    assert read_table(folder / "t.parquet").columns == ["site"]


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        ("gone.csv", None, "gone.csv: there is no such file"),
        ("gone.parquet", None, "gone.parquet: there is no such file"),
        ("t.csv", b"", "t.csv is empty"),
        ("t.csv", b"a,b\n", "a header but no rows"),
        ("t.csv", b"a,a \n1,2\n", "the column 'a' twice"),
        ("t.csv", b"PK\x03\x04and so on", r"it is an Excel workbook \(save its sheet as CSV\)"),
        ("t.xls", b"\xd0\xcf\x11\xe0and so on", "it is an Excel workbook"),
        ("t.csv", b"a,b\n1,2,3\n", "t.csv is not a readable table"),
        ("t.csv", b"a,b\n1,\xb5M\n", "t.csv is not a readable table: .*save it as UTF-8"),
        ("t.csv.gz", b"a,b\n1,2\n", "not a readable table: Not a gzipped file"),
        ("t.csv.gz", gzip.compress(TEXT.encode(), mtime=0)[:-12], "cannot|not a readable table"),
        ("t.parquet", b"PAR1", "t.parquet is not a readable table"),
    ],
)
def test_what_is_not_a_table_is_an_error(tmp_path: Path, name, data, sentence):
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=sentence) as caught:
        read_table(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_parquet_whose_text_is_damaged_is_an_error(tmp_path: Path):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"plate": ["name of a plate"]}), path, compression="none")
    damaged = path.read_bytes().replace(b"name of a plate", b"name \xff of plate")
    assert damaged != path.read_bytes()
    path.write_bytes(damaged)
    with pytest.raises(
        ValueError, match=r"t.parquet is not a readable table.*Invalid UTF8 sequence"
    ):
        read_table(path)


def test_parquet_with_pictures_is_no_table(tmp_path: Path):
    pq.write_table(pa.table({"key": ["a"], "jp2": [{"bytes": b"x"}]}), tmp_path / "t.parquet")
    with pytest.raises(ValueError, match=r"its column 'jp2' is struct<.*>, not text or numbers"):
        read_table(tmp_path / "t.parquet")


def test_text_is_read_without_pyarrow_which_is_slow_to_import(tmp_path):
    (tmp_path / "pairs.csv").write_text("a,b\n1,2\n")
    code = (
        "import sys; from pathlib import Path; from phenomae.text_tables import read_table; "
        "read_table(Path(sys.argv[1])); print('pyarrow' in sys.modules)"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "pairs.csv")]
    assert subprocess.run(words, capture_output=True, text=True).stdout == "False\n"
