"""Tables for spreadsheets: no cell of text is a formula, and numbers are what they were."""

import csv
import importlib.util
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from phenomae import cli
from phenomae.maps.export import ExportSettings, export
from phenomae.maps.spreadsheet import encode_csv, encode_xlsx
from phenomae.wells import read_wells, write_wells

EXCEL = ExportSettings("excel")
HOSTILE = {
    "=HYPERLINK(1)": "'=HYPERLINK(1)",
    "+1": "'+1",
    "-p53": "'-p53",
    "@SUM(A1)": "'@SUM(A1)",
    "＝1": "'＝1",
    "SEPT2": "SEPT2",
    "a=b": "a=b",
    "'x": "'x",
}


@pytest.fixture
def wells(tmp_path) -> Path:
    """Wells of genes that a spreadsheet would run, and of negative features."""
    table = pl.DataFrame(
        {
            "plate": ["-0042"] * 9,
            "well": [f"A{index:02d}" for index in range(1, 10)],
            "gene": [*HOSTILE, None],
            "control": [False] * 8 + [True],
            "x": [-1.5, 2.0, -3e-7, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0],
        }
    )
    write_wells(tmp_path / "wells", table, ["x"])
    return tmp_path / "wells"


def test_no_cell_of_text_in_the_csv_is_a_formula_and_numbers_are_unchanged(wells, tmp_path):
    words = ["export", str(wells), str(tmp_path / "out.csv"), "--for", "excel"]
    assert cli.run(words) == 0
    content = (tmp_path / "out.csv").read_bytes()
    assert content.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(content.decode("utf-8-sig").splitlines()))
    assert [row["gene"] for row in rows] == [*HOSTILE.values(), ""]
    assert {row["plate"] for row in rows} == {"'-0042"}
    numbers = np.array([row["x"] for row in rows], dtype=np.float32)
    np.testing.assert_array_equal(numbers, read_wells(wells).features[:, 0])
    assert rows[0]["x"] == "-1.5"
    assert [row["control"] for row in rows] == ["false"] * 8 + ["true"]


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"])
def test_each_character_that_begins_a_formula_is_guarded(first):
    table = pl.DataFrame({f"{first}name": [f"{first}1"], "n": [-1]})
    (head, row), *_ = [list(csv.reader(_lines(encode_csv(table))))]
    assert head == [f"'{first}name", "n"]
    assert row == [f"'{first}1", "-1"]


def _lines(content: bytes) -> list[str]:
    return content.decode("utf-8-sig").splitlines(keepends=True)


def test_text_in_xlsx_is_text_and_numbers_are_numbers(wells, tmp_path):
    pytest.importorskip("xlsxwriter", reason="needs XlsxWriter")
    openpyxl = pytest.importorskip("openpyxl", reason="needs openpyxl")
    export(wells, tmp_path / "out.xlsx", settings=EXCEL)
    sheet = openpyxl.load_workbook(tmp_path / "out.xlsx").active
    rows = [dict(zip(*pair, strict=True)) for pair in _pairs(sheet)]
    assert [row["gene"].value for row in rows] == [*HOSTILE, None]
    # s is text, f would be a formula.
    assert {row["gene"].data_type for row in rows[:8]} == {"s"}
    assert {row["plate"].value for row in rows} == {"-0042"}
    assert rows[0]["x"].value == -1.5
    assert rows[0]["x"].data_type == "n"
    assert [row["control"].value for row in rows] == [False] * 8 + [True]
    first = (tmp_path / "out.xlsx").read_bytes()
    export(wells, tmp_path / "again.xlsx", settings=EXCEL)
    assert (tmp_path / "again.xlsx").read_bytes() == first


def _pairs(sheet):
    head, *rows = list(sheet.iter_rows())
    return [([cell.value for cell in head], row) for row in rows]


def test_missing_numbers_are_empty_cells_in_xlsx(tmp_path):
    pytest.importorskip("xlsxwriter", reason="needs XlsxWriter")
    openpyxl = pytest.importorskip("openpyxl", reason="needs openpyxl")
    table = pl.DataFrame({"x": [float("nan"), None, 1.0], "http://a": ["http://b", "", None]})
    (tmp_path / "out.xlsx").write_bytes(encode_xlsx(table, tmp_path / "out.xlsx"))
    sheet = openpyxl.load_workbook(tmp_path / "out.xlsx").active
    assert [cell.value for cell in sheet["A"]] == ["x", None, None, 1.0]
    assert [cell.value for cell in sheet["B"]][:2] == ["http://a", "http://b"]
    assert sheet["B2"].hyperlink is None


def test_infinite_numbers_are_text_in_xlsx(tmp_path):
    pytest.importorskip("xlsxwriter", reason="needs XlsxWriter")
    openpyxl = pytest.importorskip("openpyxl", reason="needs openpyxl")
    table = pl.DataFrame({"x": [float("inf"), -float("inf"), 1.0]})
    (tmp_path / "out.xlsx").write_bytes(encode_xlsx(table, tmp_path / "out.xlsx"))
    sheet = openpyxl.load_workbook(tmp_path / "out.xlsx").active
    assert [cell.value for cell in sheet["A"]] == ["x", "inf", "-inf", 1.0]


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        (pl.DataFrame({"x": range(1_048_576)}), "would have 1048577 rows, 1 columns and cells of"),
        (pl.DataFrame({str(n): [1] for n in range(16_385)}), "would have 2 rows, 16385 columns"),
        (pl.DataFrame({str(n): range(10_000) for n in range(1_000)}), "would have 10001000 cells"),
        (pl.DataFrame({"x": ["a" * 32_768]}), "cells of 32768 characters, but a sheet has at most"),
    ],
)
def test_what_is_larger_than_a_sheet_is_refused(table, sentence):
    pytest.importorskip("xlsxwriter", reason="needs XlsxWriter")
    with pytest.raises(ValueError, match=sentence):
        encode_xlsx(table, Path("out.xlsx"))


def test_without_xlsxwriter_the_sentence_says_what_to_do(wells, tmp_path, monkeypatch):
    if importlib.util.find_spec("xlsxwriter"):
        monkeypatch.setitem(sys.modules, "xlsxwriter", None)  # as if it were not installed
    with pytest.raises(ValueError, match=r"out\.xlsx needs the package XlsxWriter: pip install"):
        export(wells, tmp_path / "out.xlsx", settings=EXCEL)
    assert not list(tmp_path.glob("out*"))


def test_a_feature_with_the_name_of_a_column_is_refused(wells, tmp_path, resign):
    from phenomae.wells import write_feature_names

    write_feature_names(wells, ["gene"])
    resign(wells)
    with pytest.raises(ValueError, match="a feature and a column of metadata that are both called"):
        export(wells, tmp_path / "out.csv", settings=EXCEL)


def test_another_suffix_is_refused(wells, tmp_path):
    with pytest.raises(ValueError, match=r"a name that ends with \.xlsx or \.csv$"):
        export(wells, tmp_path / "out.parquet", settings=EXCEL)
