"""Reads CSV, TSV and Parquet tables as text, so that plate 0042 keeps its zeros.

No types are inferred: the code that uses a column converts it and can name an invalid cell.
"""

import gzip
import io
import zlib
from collections import Counter
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

# Errors that polars, pyarrow and gzip raise on damaged files.
_ERRORS = (
    pl.exceptions.PolarsError,
    pa.ArrowException,
    OSError,
    EOFError,
    zlib.error,
    UnicodeDecodeError,
)


def read_table(path: Path) -> pl.DataFrame:
    """Return a table with all cells as stripped text; empty cells are null.

    `.parquet` files are Parquet, `.tsv` and `.txt` files are separated by tabs, all others by
    commas; a final `.gz` means that the file is compressed.

    Raises ValueError if the file is missing, empty or not a table, or repeats a column.
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
        raise ValueError(f"{path} is not a readable table: {reason}{remedy}") from None
    # Spaces around names are common in hand-made tables, and two columns may differ by them alone.
    counts = Counter(name.strip() for name in table.columns)
    if twice := [name for name, count in counts.items() if count > 1]:
        raise ValueError(f"{path} has the column {twice[0]!r} twice, ignoring spaces: rename one")
    table = table.rename({name: name.strip() for name in table.columns})
    if table.is_empty():
        raise ValueError(f"{path} has a header but no rows")
    text = pl.all().str.strip_chars()
    return table.select(pl.when(text.str.len_chars() > 0).then(text))


def _read_text(path: Path) -> pl.DataFrame:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    # Python's gzip reports a truncated file; what polars does with one is not documented.
    packed = suffixes[-1:] == [".gz"]
    source = io.BytesIO(gzip.decompress(path.read_bytes())) if packed else path
    tabs = {".tsv", ".txt"} & set(suffixes[-2:] if packed else suffixes[-1:])
    return pl.read_csv(source, separator="\t" if tabs else ",", infer_schema=False)


def _read_parquet(path: Path) -> pl.DataFrame:
    # Not pq.read_table, which makes a column of a folder named like plate=7.
    with pq.ParquetFile(path) as file:
        table = file.read()
    table.validate(full=True)  # polars assumes that text is valid UTF-8
    for field in table.schema:
        if pa.types.is_nested(field.type) or pa.types.is_binary(field.type):
            raise pa.ArrowInvalid(f"its column {field.name!r} is {field.type}, not text or numbers")
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame.select(_as_text(column) for column in frame)


def _as_text(column: pl.Series) -> pl.Series:
    """Return a column as text; floats that are all whole become integers first.

    pandas turns a column of integers with missing values into floats: site 1 becomes 1.0.
    """
    if column.dtype.is_float():
        column = column.fill_nan(None)  # pandas writes missing values as NaN
        # Beyond 2^53 a float no longer stands for one integer.
        if (column.drop_nulls() % 1 == 0).all() and not (column.abs() > 2**53).any():
            column = column.cast(pl.Int64)
    return column.cast(pl.String)
