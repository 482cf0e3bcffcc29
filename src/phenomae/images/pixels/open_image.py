"""Opens an image by its place: a file, an address on object storage, or a row of a Parquet file.

Parquet rows are read by row group and under a lock, because many threads read the same file.
"""

import errno
import io
import os
from functools import lru_cache
from pathlib import Path
from threading import Lock, local
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from phenomae.images.fields import Place
from phenomae.images.pixels.stamp import Stamp, stamp_of
from phenomae.urls import is_address, read_address

PARQUET_COLUMN = "jp2"
"""Column of RxRx3-core's images: a struct with the field `bytes`."""

_NO_FILES = {errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG}
"""Errors of the system about what is named, which another try would not mend."""

_PARQUET_LOCK = Lock()
_LAST = local()
"""Address and content of the last stack or chunk that a thread has read."""


def open_place(place: Place) -> BinaryIO:
    """Return a seekable stream with the bytes of an image.

    Raises ValueError for what is wrong with the file: there is no such file, address or row, or it
    is damaged. Raises OSError for what is wrong with the machine: rights, a disk, the network.
    """
    try:
        if place.row is not None:
            if not isinstance(content := _read_row(place.url, place.row), bytes):
                raise ValueError(f"{place} has no image bytes in its column {PARQUET_COLUMN}")
            return io.BytesIO(content)
        if is_address(place.url):
            return io.BytesIO(_read_address(place))
        return open(place.url, "rb")
    except (FileNotFoundError, NotADirectoryError):
        raise ValueError(f"there is no file {place}") from None
    except (OSError, pa.ArrowException) as error:
        number = error.errno if isinstance(error, OSError) else None
        if number in _NO_FILES:
            raise ValueError(f"{place} cannot be read: {os.strerror(number)}") from None
        if number is not None:
            raise OSError(number, os.strerror(number), str(place)) from None
        if place.row is None:  # the text of an error from an address names it already
            raise OSError(str(error)) from None
        reason = str(error).splitlines()[0]
        raise ValueError(f"{place} is not a readable Parquet file: {reason}") from None


def name_of(place: Place) -> str:
    """Return file name and row, page, channel or index, which stay if the folder is moved."""
    if place.index is not None:  # all arrays are called alike, and so say their image too
        return "/".join(Path(place.url).parts[-2:]) + "#" + ",".join(map(str, place.index))
    part = place.row if place.page is None else place.page
    if place.channel is not None:
        part = place.channel[0]
    return Path(place.url).name if part is None else f"{Path(place.url).name}#{part}"


def _read_address(place: Place) -> bytes:
    if place.page is None and place.channel is None:
        return read_address(place.url)
    # A thread reads the pages or channels of a field in succession: the file is fetched once.
    if getattr(_LAST, "url", None) != place.url:
        _LAST.content, _LAST.url = read_address(place.url), place.url
    return _LAST.content


def _read_row(path: str, row: int) -> object:
    # Arrow's ParquetFile is not safe for two threads at once: they deadlock or the process crashes.
    # Little is lost, because one thread reads the row group that the others need too.
    with _PARQUET_LOCK:
        return _read_row_locked(path, row)


def _read_row_locked(path: str, row: int) -> object:
    stamp = stamp_of(path)
    file = _open_parquet(path, stamp)
    group = 0
    while row >= (rows := file.metadata.row_group(group).num_rows):
        row -= rows
        group += 1
        if group == file.num_row_groups:
            raise FileNotFoundError(path)
    images = _read_group(path, stamp, group)
    value = images[row].as_py()
    return value.get("bytes") if isinstance(value, dict) else value


@lru_cache(maxsize=4)  # opening a file parses its whole footer
def _open_parquet(path: str, stamp: Stamp) -> pq.ParquetFile:
    return pq.ParquetFile(path)


# The images of a field are consecutive rows, so a row group is needed several times in succession;
# two, because a field may begin in one group and end in the next.
@lru_cache(maxsize=2)
def _read_group(path: str, stamp: Stamp, group: int) -> pa.ChunkedArray:
    file = _open_parquet(path, stamp)
    return file.read_row_group(group, columns=[PARQUET_COLUMN])[PARQUET_COLUMN]
