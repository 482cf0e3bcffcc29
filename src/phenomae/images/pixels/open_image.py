"""Opens the place where an image lies: a file, an address, or a row of a Parquet file."""

import io
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from phenomae.images.fields import Place
from phenomae.urls import is_address, read_address

PARQUET_COLUMN = "jp2"
"""Of RxRx3-core: a struct with the field `bytes`."""

_ONE_AT_A_TIME = Lock()


def open_place(place: Place) -> BinaryIO:
    """Return what lies at a place, to be read and sought in.

    Raises ValueError where there is nothing, or where it cannot be read.
    """
    try:
        if place.row is not None:
            if not isinstance(content := _read_row(place.url, place.row), bytes):
                raise ValueError(f"{place} has no bytes of an image in its column {PARQUET_COLUMN}")
            return io.BytesIO(content)
        if is_address(place.url):
            return io.BytesIO(read_address(place.url))
        return open(place.url, "rb")
    except FileNotFoundError:
        raise ValueError(f"there is no file {place}") from None
    except (OSError, pa.ArrowException) as error:
        if isinstance(error, OSError) and error.strerror:
            raise ValueError(f"{place} cannot be read: {error.strerror}") from None
        if place.row is None:  # an address, which the error names
            raise ValueError(str(error)) from None
        reason = str(error).splitlines()[0]
        raise ValueError(f"{place} is not a Parquet file that can be read: {reason}") from None


def name_of(place: Place) -> str:
    """Return the last part of a place, which stays when a folder is moved."""
    return Path(place.url).name if place.row is None else f"{Path(place.url).name}#{place.row}"


def _read_row(path: str, row: int) -> object:
    # Arrow's reader of a file is not for two threads at once: they wait for each other for ever, or
    # the process crashes. And one of them reads what the others want too.
    with _ONE_AT_A_TIME:
        return _read_row_alone(path, row)


def _read_row_alone(path: str, row: int) -> object:
    file = _open_parquet(path)
    group = 0
    while row >= (rows := file.metadata.row_group(group).num_rows):
        row -= rows
        group += 1
        if group == file.num_row_groups:
            raise FileNotFoundError(path)
    images = _read_group(path, group)
    value = images[row].as_py()
    return value.get("bytes") if isinstance(value, dict) else value


@lru_cache(maxsize=4)
def _open_parquet(path: str) -> pq.ParquetFile:
    return pq.ParquetFile(path)


# The images of a field lie one after the other, so that a group is wanted several times in a row.
@lru_cache(maxsize=2)
def _read_group(path: str, group: int) -> pa.ChunkedArray:
    return _open_parquet(path).read_row_group(group, columns=[PARQUET_COLUMN])[PARQUET_COLUMN]
