"""Reads CSV, TSV and Parquet as text, so that plate 0042 keeps its zeros."""

import gzip
import io
import zlib
from collections import Counter
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

# What damage makes polars, pyarrow and gzip raise.
_ERRORS = (
    pl.exceptions.PolarsError,
    pa.ArrowException,
    OSError,
    EOFError,
    zlib.error,
    UnicodeDecodeError,
)


def read_table(path: Path) -> pl.DataFrame:
    """Return a table as stripped text; empty cells are null.

    `.parquet` is Parquet, `.tsv` and `.txt` are separated by tabs, all else by commas; `.gz` at
    the end says that it is compressed.

    Raises ValueError where the file is missing, empty or no table, or has a column twice.
    """
    try:
        table = _read_parquet(path) if path.suffix.lower() == ".parquet" else _read_text(path)
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such file") from None
    except pl.exceptions.NoDataError:
        raise ValueError(f"{path} is empty") from None
    except _ERRORS as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        remedy = " (save it as UTF-8)" if "utf-8" in reason else ""
        raise ValueError(f"{path} is not a table that can be read: {reason}{remedy}") from None
    counts = Counter(name.strip() for name in table.columns)
    if twice := [name for name, count in counts.items() if count > 1]:
        raise ValueError(f"{path} has the column {twice[0]!r} twice, apart from spaces: rename one")
    table = table.rename({name: name.strip() for name in table.columns})
    if table.is_empty():
        raise ValueError(f"{path} has a header but no row")
    text = pl.all().str.strip_chars()
    return table.select(pl.when(text.str.len_chars() > 0).then(text))


def _read_text(path: Path) -> pl.DataFrame:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    # Python's own gzip tells where a file is cut short.
    packed = suffixes[-1:] == [".gz"]
    source = io.BytesIO(gzip.decompress(path.read_bytes())) if packed else path
    tabs = {".tsv", ".txt"} & set(suffixes[-2:] if packed else suffixes[-1:])
    return pl.read_csv(source, separator="\t" if tabs else ",", infer_schema=False)


def _read_parquet(path: Path) -> pl.DataFrame:
    with pq.ParquetFile(path) as file:
        table = file.read()
    table.validate(full=True)  # text that is no UTF-8 is not for polars
    for field in table.schema:
        if pa.types.is_nested(field.type) or pa.types.is_binary(field.type):
            raise pa.ArrowInvalid(f"its column {field.name!r} is {field.type}, no text or number")
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame.select(_as_text(column) for column in frame)


def _as_text(column: pl.Series) -> pl.Series:
    """Return a column as text; whole numbers that pandas made fractions of are whole again."""
    if column.dtype.is_float():
        column = column.fill_nan(None)  # as pandas writes what is missing
        if (column.drop_nulls() % 1 == 0).all() and not (column.abs() > 2**53).any():
            column = column.cast(pl.Int64)
    return column.cast(pl.String)
