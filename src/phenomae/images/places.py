"""Opens the place where an image lies: a file, an address, or a row of a Parquet file."""

import io
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from phenomae.addresses import is_address, read_address
from phenomae.images.fields import Place

PARQUET_COLUMN = "jp2"
"""Of RxRx3-core: a struct with the field `bytes`."""


def open_place(place: Place) -> BinaryIO:
    """Return what lies at a place, to be read and sought in.

    Raises ValueError where there is nothing, or where it cannot be read.
    """
    try:
        if place.row is not None:
            return io.BytesIO(_read_row(place.url, place.row))
        if is_address(place.url):
            return io.BytesIO(read_address(place.url))
        return open(place.url, "rb")
    except FileNotFoundError:
        raise ValueError(f"there is no file {place}") from None
    except OSError as error:
        reason = f"{place} cannot be read: {error.strerror}" if error.strerror else str(error)
        raise ValueError(reason) from None
    except pa.ArrowException as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{place} is not a Parquet file that can be read: {reason}") from None


def name_of(place: Place) -> str:
    """Return the last part of a place, which stays when a folder is moved."""
    return Path(place.url).name if place.row is None else f"{Path(place.url).name}#{place.row}"


def _read_row(path: str, row: int) -> bytes:
    file = _open_parquet(path)
    group = 0
    while row >= (rows := file.metadata.row_group(group).num_rows):
        row -= rows
        group += 1
        if group == file.num_row_groups:
            raise FileNotFoundError(path)
    images = _read_group(path, group)
    value = images[row].as_py()
    return value["bytes"] if isinstance(value, dict) else value


@lru_cache(maxsize=4)
def _open_parquet(path: str) -> pq.ParquetFile:
    return pq.ParquetFile(path)


# The images of a field lie one after the other, so that a group is wanted several times in a row.
@lru_cache(maxsize=2)
def _read_group(path: str, group: int) -> pa.ChunkedArray:
    return _open_parquet(path).read_row_group(group, columns=[PARQUET_COLUMN])[PARQUET_COLUMN]
