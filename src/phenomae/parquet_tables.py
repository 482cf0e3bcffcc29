"""Reads Parquet tables as text, as `text_tables` reads CSV."""

from pathlib import Path

import polars as pl


def read_parquet_as_text(path: Path) -> pl.DataFrame:
    """Return a Parquet table with all columns as text.

    Raises polars' ComputeError, as polars does for text, if it is damaged, or if a column holds
    neither text nor numbers.
    """
    import pyarrow as pa

    try:
        return _read(path)
    except pa.ArrowException as error:
        raise pl.exceptions.ComputeError(str(error)) from None


def read_parquet_columns(path: Path) -> list[str]:
    """Return the names of a Parquet table's columns; raises ComputeError if it is damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_schema(path).names
    except pa.ArrowException as error:
        raise pl.exceptions.ComputeError(str(error)) from None


def _read(path: Path) -> pl.DataFrame:
    import pyarrow as pa
    import pyarrow.parquet as pq

    # Not pq.read_table, which makes a column of a folder named like plate=7.
    with pq.ParquetFile(path) as file:
        table = file.read()
    table.validate(full=True)  # polars assumes that text is valid UTF-8
    for field in table.schema:
        if pa.types.is_nested(field.type) or pa.types.is_binary(field.type):
            raise pa.ArrowInvalid(f"its column {field.name!r} is {field.type}, not text or numbers")
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame.select(as_text(column) for column in frame)


def as_text(column: pl.Series) -> pl.Series:
    """Return a column as text; floats that are all whole become integers first.

    pandas turns a column of integers with missing values into floats: site 1 becomes 1.0.
    """
    if column.dtype.is_float():
        column = column.fill_nan(None)  # pandas writes missing values as NaN
        # Beyond 2^53 a float no longer stands for one integer.
        if (column.drop_nulls() % 1 == 0).all() and not (column.abs() > 2**53).any():
            column = column.cast(pl.Int64)
    return column.cast(pl.String)
