"""Tables that people open in a spreadsheet: CSV whose cells are no formulas, and XLSX.

A spreadsheet runs a cell of a CSV file that begins with `=` as a formula, which can also send data
to other machines (CWE-1236). It also turns names such as SEPT2 into dates; XLSX has types, and so
neither happens there.
"""

import datetime
import io
from pathlib import Path

import polars as pl

# The characters that the OWASP page on CSV injection lists, with their full-width forms.
_FORMULA = r"^[=+\-@\t\r\n＝＋－＠]"
_MAX_ROWS, _MAX_COLUMNS, _MAX_LETTERS = 1_048_576, 16_384, 32_767  # of a sheet of Excel
_MAX_CELLS = 10_000_000  # XlsxWriter takes over a minute and 2 GB for so many
_INFINITE = (float("inf"), -float("inf"))
# XLSX records when it was created: with a fixed time the same source gives the same bytes.
_CREATED = datetime.datetime(2000, 1, 1)  # XLSX has no time zones


def encode_csv(table: pl.DataFrame) -> bytes:
    """Return a CSV file in which no cell of text begins like a formula.

    An apostrophe is put before such text, and before such names of columns; numbers are unchanged.
    The file begins with a byte order mark, without which Excel takes UTF-8 for another encoding.
    """
    text = pl.col(pl.String)
    guarded = pl.when(text.str.contains(_FORMULA)).then(pl.lit("'") + text).otherwise(text)
    buffer = io.BytesIO()
    guard_names = table.with_columns(guarded.name.keep()).rename(_guard)
    guard_names.write_csv(buffer, include_bom=True)
    return buffer.getvalue()


def _guard(name: str) -> str:
    return f"'{name}" if pl.Series([name]).str.contains(_FORMULA)[0] else name


def encode_xlsx(table: pl.DataFrame, out: Path) -> bytes:
    """Return an XLSX file of one sheet, in which text is text and numbers are numbers.

    NaN is an empty cell, an infinite number the text inf. Raises ValueError if XlsxWriter is not
    installed, or if the table is larger than a sheet can be.
    """
    try:
        import xlsxwriter  # pyright: ignore[reportMissingImports] (an extra)
    except ImportError:
        raise ValueError(
            f"{out} needs the package XlsxWriter: pip install 'phenomae[excel]', or give a name "
            "that ends with .csv"
        ) from None
    _require_fit(table, out)
    buffer = io.BytesIO()
    options = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    with xlsxwriter.Workbook(buffer, options) as book:
        book.set_properties({"created": _CREATED})
        sheet = book.add_worksheet()
        sheet.freeze_panes(1, 0)
        for number, column in enumerate(table.iter_columns()):
            sheet.write_string(0, number, column.name)
            write = sheet.write_string if column.dtype == pl.String else sheet.write
            filled = column.fill_nan(None) if column.dtype.is_float() else column
            for row, value in enumerate(filled, start=1):
                if value in _INFINITE:  # a sheet has no such number
                    sheet.write_string(row, number, str(value))
                elif value is not None:
                    write(row, number, value)
    return buffer.getvalue()


def _require_fit(table: pl.DataFrame, out: Path) -> None:
    rows, columns = table.height + 1, table.width
    letters = table.select(pl.col(pl.String).str.len_chars()).max().row(0) if rows > 1 else ()
    longest = max((count for count in letters if count is not None), default=0)
    if rows * columns > _MAX_CELLS:
        raise ValueError(
            f"{out} would have {rows * columns} cells, more than {_MAX_CELLS}: write .csv, or "
            "export fewer rows or features"
        )
    if rows > _MAX_ROWS or columns > _MAX_COLUMNS or longest > _MAX_LETTERS:
        raise ValueError(
            f"{out} would have {rows} rows, {columns} columns and cells of {longest} characters, "
            f"but a sheet has at most {_MAX_ROWS}, {_MAX_COLUMNS} and {_MAX_LETTERS}: write .csv"
        )
