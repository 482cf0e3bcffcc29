"""Reads CSV, TSV and Parquet tables as text, so that plate 0042 keeps its zeros.

No types are inferred: the code that uses a column converts it and can name an invalid cell.
"""

import csv
import gzip
import io
import re
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import polars as pl

_SEPARATORS = (",", "\t", ";")  # Excel writes semicolons where the comma is the decimal point
_DECIMAL_COMMA = r"^(\s*[-+]?[0-9]+),([0-9]+(?:[eE][-+]?[0-9]+)?\s*)$"
_LINE_END = re.compile(rb"[\r\n]")
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # .xlsx and .xls

# Errors that polars, csv and gzip raise on damaged files.
_ERRORS = (
    pl.exceptions.PolarsError,
    OSError,
    EOFError,
    zlib.error,
    csv.Error,
    UnicodeDecodeError,
)


def read_table(path: Path) -> pl.DataFrame:
    """Return a table as `read_lines` does, without the lines."""
    table, filled = _read_cells(path)
    return table.filter(filled)


def read_lines(path: Path) -> tuple[pl.DataFrame, list[int]]:
    """Return a table with all cells as stripped text, and the line of each row in the file.

    Empty cells are null, and rows of empty cells are left out. `.parquet` files are Parquet. Others
    are text, separated by what the header has most of: commas, tabs or semicolons (0,5 is 0.5
    then); a final `.gz` means that the file is compressed.

    Raises ValueError if the file is missing, empty or not a table, or repeats a column.
    """
    table, filled = _read_cells(path)
    return table.filter(filled), [line for line, its in enumerate(filled, start=2) if its]


def _read_cells(path: Path) -> tuple[pl.DataFrame, pl.Series]:
    """Return a table with all cells as stripped text, and which of its rows have a cell."""
    try:
        table = _read_any(path)
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such file") from None
    except pl.exceptions.NoDataError:
        raise ValueError(f"{path} is empty") from None
    except _ERRORS as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        remedy = " (save it as UTF-8)" if "utf-8" in reason else ""
        raise ValueError(f"{path} is not a readable table: {reason}{remedy}") from None
    table = table.rename(dict(zip(table.columns, _list_names(path, table.columns), strict=True)))
    text = pl.all().str.strip_chars()
    table = table.select(pl.when(text.str.len_chars() > 0).then(text))
    filled = table.select(pl.any_horizontal(pl.all().is_not_null())).to_series()
    if not filled.any():
        raise ValueError(f"{path} has a header but no rows")
    return table, filled


def read_columns(path: Path) -> list[str]:
    """Return the names of a table's columns, reading only its first line.

    Empty if the file cannot be read; whether it is a table is not checked.
    """
    try:
        if path.suffix.lower() == ".parquet":
            from phenomae.parquet_tables import read_parquet_columns

            return read_parquet_columns(path)
        open_table = gzip.open if path.suffix.lower() == ".gz" else open
        with open_table(path, "rb") as file:
            line = file.readline(1 << 20)
        separator = find_separator(line)
        cells = next(csv.reader([line.decode("utf-8-sig")], delimiter=separator), [])
    except (*_ERRORS, ValueError):
        return []
    return [cell.strip() for cell in cells]


def _read_any(path: Path) -> pl.DataFrame:
    if path.suffix.lower() != ".parquet":
        return _read_text(path)
    # Imported here because pyarrow takes as long to import as a small benchmark takes to run.
    from phenomae.parquet_tables import read_parquet_as_text

    return read_parquet_as_text(path)


def _list_names(path: Path, names: Sequence[str]) -> list[str]:
    """Return the names of columns without spaces; those without a name are called by number.

    Raises ValueError if two are the same.
    """
    # Spaces around names are common in hand-made tables, and two columns may differ by them alone.
    stripped = [name.strip() or f"column {number}" for number, name in enumerate(names, start=1)]
    if twice := [name for name, count in Counter(stripped).items() if count > 1]:
        raise ValueError(f"{path} has the column {twice[0]!r} twice, ignoring spaces: rename one")
    return stripped


def _read_text(path: Path) -> pl.DataFrame:
    content = path.read_bytes()
    if path.suffix.lower() == ".gz":
        # Python's gzip reports a truncated file; what polars does with one is not documented.
        content = gzip.decompress(content)
    if content.startswith(_WORKBOOKS):
        raise pl.exceptions.ComputeError("it is an Excel workbook (save its sheet as CSV)")
    if b"\n" not in content:
        content = content.replace(b"\r", b"\n")  # as Excel for the Macintosh ends lines
    separator = find_separator(content)
    table = pl.read_csv(io.BytesIO(content), separator=separator, infer_schema=False)
    # polars renames the second of two columns of one name to gene_duplicated_0.
    names = _list_names(path, _read_header(content, separator, table.columns))
    table.columns = names
    if separator == ";":
        return table.with_columns(pl.all().str.replace(_DECIMAL_COMMA, "$1.$2"))
    return table


def _read_header(content: bytes, separator: str, found: Sequence[str]) -> Sequence[str]:
    """Return the cells of the header as they are written; `found` are those that polars found."""
    text = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig", newline="")
    header = next(filter(None, csv.reader(text, delimiter=separator)), [])
    return header if len(header) == len(found) else found


def find_separator(content: bytes) -> str:
    """Return the separator of which a table's header has most outside quotes: a comma if none."""
    header = re.sub(rb'"[^"]*"', b"", _LINE_END.split(content, maxsplit=1)[0])
    # Where equally many are there, the first of these.
    return max(_SEPARATORS, key=lambda one: header.count(one.encode()))
