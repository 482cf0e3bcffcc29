"""Writes each field as one sharded Zarr 3 array.

One shard per field keeps the number of files low. The inner chunks of a shard (all channels x 128 x
128) can be read individually, so that a crop is read without the rest of its field.
"""

import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorstore as ts
from jaxtyping import UInt

from phenomae.store.files import array_location
from phenomae.urls import first_reason
from phenomae.whole_files import PARTIAL

# With chunks of 64 instead (docs/log.md, 2026-11-25), crops of 64 pixels were read 1.4 times as
# fast, but crops of 256 pixels at most 5 % faster, and reading a whole field took 20 % longer.
TILE = 128
# On noisy 16-bit fields LZ4 after a bit shuffle takes 5 to 7 % more space than Zstandard level 3,
# but is written twice as fast and read up to 1.5 times as fast; a store is written once and read
# for days. docs/store.md has the table.
_COMPRESSION = {"cname": "lz4", "clevel": 5, "shuffle": "bitshuffle"}


def write_array(location: Path | str, pixels: UInt[np.ndarray, "c h w"]) -> None:
    """Write one field as a Zarr array, completely or not at all.

    Several processes may write the same field at once. Raises OSError if writing fails, for example
    because the disk is full.
    """
    try:
        if isinstance(location, Path):
            _write_beside(location, pixels)
        else:
            _create_array(location, pixels)
    except (ValueError, OSError) as error:
        raise _explain(error, location) from None


def _write_beside(location: Path, pixels: UInt[np.ndarray, "c h w"]) -> None:
    """Write an array under a name of its own, then rename it.

    A worker process lives a moment longer than its call that was killed, and may still write a
    field that another process writes again: neither removes files of the other.
    """
    partial = location.with_name(f"{location.name}.{secrets.token_hex(4)}{PARTIAL}")
    try:
        _create_array(partial, pixels)
        try:
            os.rename(partial, location)
        except OSError:  # there is one: of another process, or incomplete after a power failure
            if not _has_pixels(location, pixels):
                shutil.rmtree(location, ignore_errors=True)
                os.rename(partial, location)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _has_pixels(location: Path, pixels: UInt[np.ndarray, "c h w"]) -> bool:
    found = read_if_whole(location)
    return found is not None and found.dtype == pixels.dtype and np.array_equal(found, pixels)


def _create_array(location: Path | str, pixels: UInt[np.ndarray, "c h w"]) -> None:
    """Write the metadata of an array, then its shard."""
    spec = {
        "driver": "zarr3",
        "kvstore": array_location(location),
        # By default a field of zeros would have no shard and could not be told from damage.
        "store_data_equal_to_fill_value": True,
        "metadata": array_metadata(pixels.shape, pixels.dtype),
    }
    array = ts.open(spec, create=True, delete_existing=not isinstance(location, Path)).result()
    array.write(pixels).result()


def read_if_whole(location: Path | str) -> UInt[np.ndarray, "c h w"] | None:
    """Return the pixels of a field if an earlier call has written them completely, else None."""
    if isinstance(location, Path) and not (location / "c/0/0/0").exists():
        return None
    spec = {
        "driver": "zarr3",
        "kvstore": array_location(location),
        "fill_missing_data_reads": False,  # by default a missing shard is read as zeros
    }
    try:
        return ts.open(spec, open=True, read=True).result().read().result()
    except ValueError:  # after a power failure the file may exist without its content
        return None


def checksum(pixels: UInt[np.ndarray, "c h w"]) -> str:
    """Return the first 32 hexadecimal digits of SHA-256 over the pixels, little endian, c h w."""
    # The byte order is fixed so that a store has the same identity on every machine.
    little = np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("<"))
    return hashlib.sha256(little.data).hexdigest()[:32]


def array_metadata(shape: Sequence[int], dtype: npt.DTypeLike) -> dict[str, Any]:
    """Return the Zarr metadata of a field's array, to which tensorstore adds its defaults."""
    channels, height, width = shape
    kind = np.dtype(dtype)
    shard = [channels, _round_up(height), _round_up(width)]
    compress = {"typesize": kind.itemsize, "blocksize": 0, **_COMPRESSION}
    inner = [
        {"name": "bytes", "configuration": {"endian": "little"}},
        {"name": "blosc", "configuration": compress},
    ]
    if kind.itemsize == 1:
        inner[0] = {"name": "bytes"}  # byte order does not apply to single bytes
    # Blosc has no checksum of its own: without this one a flipped bit changes pixels unnoticed.
    inner.append({"name": "crc32c"})
    sharding = {"chunk_shape": [channels, TILE, TILE], "codecs": inner}
    return {
        "shape": list(shape),
        "data_type": str(kind),
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": shard}},
        "dimension_names": ["c", "y", "x"],
        "fill_value": 0,
        "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
    }


def _round_up(side: int) -> int:
    return -(-side // TILE) * TILE


def _explain(error: Exception, path: Path | str) -> OSError:
    """Return an OSError that names the field, with the error number of the operating system.

    tensorstore gives the number only in the text of its error; the command line needs the number to
    recognise a full disk.
    """
    found = re.search(r"os_error_code='(\d+)'", str(error))
    number = int(found[1]) if found else getattr(error, "errno", None)
    if number is None:
        return OSError(f"{path} could not be written: {first_reason(error)}")
    return OSError(number, os.strerror(number), str(path))
