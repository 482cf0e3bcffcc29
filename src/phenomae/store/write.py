"""Writes each field as one sharded Zarr 3 array, so that reading a crop is one short read.

One shard per field keeps the number of files low; its inner chunks (all channels x 128 x 128) can
be read one by one.
"""

import hashlib
import os
import re
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

# Chunks of 64 were measured too (log, 2026-11-25): crops of 64 pixels came 1.4 times as fast, but
# those of 256 at most 5 % faster, and a whole field took a fifth longer.
TILE = 128
# On noisy 16-bit fields LZ4 after a bit shuffle takes 5 to 7 % more space than Zstandard level 3,
# but is written twice as fast and read up to 1.5 times as fast; a store is written once and read
# for days. docs/store.md has the table.
_COMPRESSION = {"cname": "lz4", "clevel": 5, "shuffle": "bitshuffle"}


def write_array(location: Path | str, pixels: UInt[np.ndarray, "c h w"]) -> None:
    """Write one field as a Zarr array; its shard comes last and appears whole or not at all.

    Raises OSError if the disk is full or the server refuses.
    """
    if isinstance(location, Path):
        shutil.rmtree(location, ignore_errors=True)  # a stopped call may have left it unfinished
    try:
        spec = {
            "driver": "zarr3",
            "kvstore": array_location(location),
            # Otherwise a field of zeros would have no shard, and look unwritten or damaged.
            "store_data_equal_to_fill_value": True,
            "metadata": array_metadata(pixels.shape, pixels.dtype),
        }
        array = ts.open(spec, create=True, delete_existing=not isinstance(location, Path)).result()
        array.write(pixels).result()
    except (ValueError, OSError) as error:
        raise _explain(error, location) from None


def read_if_whole(location: Path | str) -> UInt[np.ndarray, "c h w"] | None:
    """Return the pixels of a field that an earlier call wrote, or None if it must be written."""
    if isinstance(location, Path) and not (location / "c/0/0/0").exists():
        return None
    spec = {
        "driver": "zarr3",
        "kvstore": array_location(location),
        "fill_missing_data_reads": False,  # else a missing shard would be read as zeros
    }
    try:
        return ts.open(spec, open=True, read=True).result().read().result()
    except ValueError:  # after a power cut the file may exist without its content
        return None


def checksum(pixels: UInt[np.ndarray, "c h w"]) -> str:
    """Return the first 32 hexadecimal digits of SHA-256 over the pixels, little endian, c h w."""
    # Little endian explicitly, so that a store has the same identity on every machine.
    little = np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("<"))
    return hashlib.sha256(little.data).hexdigest()[:32]


def array_metadata(shape: Sequence[int], dtype: npt.DTypeLike) -> dict[str, Any]:
    """Return the Zarr metadata of a field's array; tensorstore adds the defaults."""
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
    """Return tensorstore's ValueError as the OSError that caused it.

    tensorstore states the operating system's error number only in its text; the command line needs
    it to recognise a full disk.
    """
    number = re.search(r"os_error_code='(\d+)'", str(error))
    if number is None:
        return OSError(f"{path} could not be written: {first_reason(error)}")
    return OSError(int(number[1]), os.strerror(int(number[1])), str(path))
