"""Planes of Zarr arrays of versions 2 and 3, opened by tensorstore.

A chunk that is missing is a chunk of the fill value: writers leave out chunks of nothing else. Only
a plane of which no chunk is stored is an error, because it is more likely lost than black.
"""

import json
import os
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Num

from phenomae.images.fields import Place
from phenomae.images.pixels.header import ImageHeader, UnfitError, check_grey
from phenomae.images.pixels.stamp import Stamp, stamp_of
from phenomae.urls import DeniedError, first_reason, is_address, kvstore_spec, read_address

if TYPE_CHECKING:
    import tensorstore as ts

_DRIVERS = {"zarr.json": "zarr3", ".zarray": "zarr"}
"""The tensorstore driver of the Zarr version whose arrays have a file of this name."""
_MACHINE = re.compile(
    "(UNAVAILABLE|DEADLINE_EXCEEDED|PERMISSION_DENIED|UNAUTHENTICATED|ABORTED|RESOURCE_EXHAUSTED"
    "|UNKNOWN|INTERNAL|CANCELLED)"
)
"""States of tensorstore that are about the machine or the network, and not about the array."""
_NOTHING = "has no chunk stored: it is missing, or its writer leaves out black images"


def read_metadata(location: Path | str) -> tuple[str, dict[str, Any]] | None:
    """Return the tensorstore driver and the metadata of an array; None if there is no array.

    Raises ValueError if the metadata are not JSON, and OSError if they cannot be read.
    """
    for name, content in read_present(location, list(_DRIVERS)):
        try:
            metadata = json.loads(content)
        except (ValueError, RecursionError):
            raise ValueError(f"{location}/{name} is not JSON") from None
        if isinstance(metadata, dict) and metadata.get("node_type", "array") == "array":
            return _DRIVERS[name], metadata
    return None


def require_metadata(location: Path | str) -> tuple[str, dict[str, Any]]:
    """Return what `read_metadata` returns; raises ValueError also if there is no array."""
    if (found := read_metadata(location)) is None:
        raise ValueError(f"there is no Zarr array {location}")
    return found


def read_present(folder: Path | str, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the files that are there, of a folder or below an address.

    Raises OSError if one cannot be read. Access that a server denies is no such error if another
    file is there: buckets that may not be listed answer so for what is not there.
    """
    denied: DeniedError | None = None
    is_empty = True
    for name in names:
        try:
            content = _read_file(folder, name)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except DeniedError as error:
            denied = denied or error
            continue
        is_empty = False
        yield name, content
    if denied is not None and is_empty:
        raise denied


def _read_file(folder: Path | str, name: str) -> bytes:
    address = os.fspath(folder)
    return (
        read_address(f"{address}/{name}")
        if is_address(address)
        else Path(folder, name).read_bytes()
    )


def open_plane(place: Place, *, strict: bool = False) -> "ts.TensorStore":
    """Return the view of an array's plane; with `strict` reading a missing chunk is an error.

    Raises UnfitError if there is no such plane, and OSError if the machine fails.
    """
    assert place.index is not None, f"{place} is no plane of an array"
    # An array may be replaced, and with it its type and byte order, while a process runs.
    names = () if is_address(place.url) else (f"{place.url}/{name}" for name in _DRIVERS)
    array = _open(place.url, strict, tuple(map(stamp_of, names)))
    # tensorstore checks bounds only when it reads.
    outside = any(at >= size for at, size in zip(place.index, array.shape, strict=False))
    if outside or len(place.index) != array.rank - 2:
        raise UnfitError(f"is not a plane of an array of shape {tuple(array.shape)}")
    return array[place.index]


def read_plane_header(place: Place, *, has_range: bool) -> ImageHeader:
    """Return size and type of a plane, as `header.check_grey` does.

    The size in bytes is that of the decoded plane. Raises UnfitError if no chunk of the plane is
    stored, as far as a server lists its files.
    """
    plane = open_plane(place)
    size = int(np.prod(plane.shape)) * plane.dtype.numpy_dtype.itemsize
    header = check_grey(plane.shape, str(plane.dtype.numpy_dtype), size, has_range=has_range)
    try:
        stored = plane.storage_statistics(query_not_stored=True).result()
    except (ValueError, NotImplementedError) as error:
        # Servers of plain HTTP list no files: there the missing plane is found when it is read.
        if place.url.startswith("http"):
            return header
        raise explain(error, place.url) from None
    if stored.not_stored:
        raise UnfitError(_NOTHING)
    return header


def read_plane(place: Place, *, has_range: bool) -> Num[np.ndarray, "h w"]:
    """Decode a plane; raises UnfitError if it is damaged, unfit or not stored."""
    plane = open_plane(place, strict=True)
    check_grey(plane.shape, str(plane.dtype.numpy_dtype), 0, has_range=has_range)
    try:
        return plane.read().result()
    except ValueError as error:
        if not str(error).startswith("NOT_FOUND"):
            raise explain(error, place.url) from None
    try:
        pixels = open_plane(place).read().result()
    except ValueError as error:
        raise explain(error, place.url) from None
    if pixels.min() == pixels.max():
        raise UnfitError(_NOTHING)
    return pixels


def list_chunk_times(place: Place) -> list[int]:
    """Return when the files of a local plane last changed, in ns: metadata, then stored chunks."""
    folder = Path(place.url)
    driver, metadata = require_metadata(place.url)
    name = next(name for name, its in _DRIVERS.items() if its == driver)
    times = [os.stat(folder / name).st_mtime_ns]
    assert place.index is not None, f"{place} is no plane of an array"
    for chunk in _name_chunks(driver, metadata, place.index):
        try:
            times.append(os.stat(folder / chunk).st_mtime_ns)
        except (FileNotFoundError, NotADirectoryError):
            times.append(0)  # a chunk of the fill value
    return times


def list_missing_chunks(url: str, planes: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Return, for planes of an array, which of their chunks (or shards) are not stored.

    Chunks of a plane are counted from 0, row by row. At an address a byte of each is asked for.
    """
    driver, metadata = require_metadata(url)
    names = [_name_chunks(driver, metadata, index) for index in planes]
    # Planes of a stack may share their chunks.
    stored = {name: _is_stored(url, name) for name in dict.fromkeys(chain(*names))}
    return [tuple(n for n, name in enumerate(its) if not stored[name]) for its in names]


def _is_stored(url: str, name: str) -> bool:
    try:
        if not is_address(url):
            os.stat(Path(url, name))
            return True
        try:
            read_address(f"{url}/{name}", 1)
        except FileNotFoundError:
            raise
        except OSError:  # a server that knows no byte ranges
            read_address(f"{url}/{name}")
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def explain(error: Exception, url: str) -> Exception:
    """Return tensorstore's error as UnfitError, or as OSError if it is about the machine."""
    reason = first_reason(error)
    number = re.search(r"os_error_code='(\d+)'", str(error))
    if _MACHINE.match(reason):
        if number is not None:
            return OSError(int(number[1]), os.strerror(int(number[1])), url)
        return OSError(f"{url} cannot be read: {reason}")
    return UnfitError(f"cannot be decoded: {reason}")


def _name_chunks(driver: str, metadata: dict[str, Any], index: tuple[int, ...]) -> list[str]:
    """Return the names of the chunks of a plane, or of the shards that hold them."""
    shape = metadata["shape"]
    if driver == "zarr":
        chunks = metadata["chunks"]
        start, separator = (), metadata.get("dimension_separator") or "."
    else:
        chunks = metadata["chunk_grid"]["configuration"]["chunk_shape"]
        encoding = metadata["chunk_key_encoding"]
        is_v2 = encoding["name"] == "v2"
        separator = encoding.get("configuration", {}).get("separator", "." if is_v2 else "/")
        start = () if is_v2 else ("c",)
    lead = [str(at // size) for at, size in zip(index, chunks, strict=False)]
    rows, columns = (
        range(-(-side // size)) for side, size in zip(shape[-2:], chunks[-2:], strict=True)
    )
    return [separator.join([*start, *lead, str(y), str(x)]) for y in rows for x in columns]


# Few arrays at a time: a field is one array, and its planes are read one after another.
@lru_cache(maxsize=64)
def _open(url: str, strict: bool, stamps: tuple[Stamp, ...]) -> "ts.TensorStore":
    import tensorstore as ts  # not at the top: its import takes 0.1 s

    found = read_metadata(url)
    if found is None:
        raise UnfitError("is not there: no Zarr array has this name")
    spec = {
        "driver": found[0],
        "kvstore": kvstore_of(url),
        "recheck_cached_data": "open",
        "fill_missing_data_reads": not strict,
    }
    try:
        return ts.open(spec, open=True, read=True).result()
    except (ValueError, NotImplementedError) as error:
        raise explain(error, url) from None


def kvstore_of(url: str) -> dict[str, Any]:
    """Return the tensorstore key-value store specification of an array's folder or address."""
    if is_address(url):
        return kvstore_spec(f"{url}/")
    return {"driver": "file", "path": f"{os.path.abspath(url)}/"}
