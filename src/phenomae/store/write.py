"""Writes fields as sharded Zarr 3 arrays: one shard a field, so that a crop is one short read."""

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

TILE = 128
# On noisy 16-bit fields LZ4 after a bit shuffle takes 5 to 7 % more room than Zstandard level 3,
# is written twice as fast and read up to 1.5 times as fast; a store is written once and read for
# days. docs/store.md has the table.
_COMPRESSION = {"cname": "lz4", "clevel": 5, "shuffle": "bitshuffle"}


def write_array(location: Path | str, pixels: UInt[np.ndarray, "c h w"]) -> None:
    """Write one field as a Zarr array, its shard last and in one step.

    Raises OSError where the disk, or the server, does not take it.
    """
    if isinstance(location, Path):
        shutil.rmtree(location, ignore_errors=True)  # what a stop left half done
    try:
        spec = {
            "driver": "zarr3",
            "kvstore": array_location(location),
            # A field of zeros is written too: its shard says that the field was done.
            "store_data_equal_to_fill_value": True,
            "metadata": array_metadata(pixels.shape, pixels.dtype),
        }
        array = ts.open(spec, create=True, delete_existing=not isinstance(location, Path)).result()
        array.write(pixels).result()
    except (ValueError, OSError) as error:
        raise _explain(error, location) from None


def read_if_whole(location: Path | str) -> UInt[np.ndarray, "c h w"] | None:
    """Return a field written before a stop; None where it must be written again."""
    if isinstance(location, Path) and not (location / "c/0/0/0").exists():
        return None
    spec = {
        "driver": "zarr3",
        "kvstore": array_location(location),
        "fill_missing_data_reads": False,  # the shard is written last: without it nothing is there
    }
    try:
        return ts.open(spec, open=True, read=True).result().read().result()
    except ValueError:  # a machine that lost power may have kept a file without its bytes
        return None


def checksum(pixels: UInt[np.ndarray, "c h w"]) -> str:
    """Return 32 hexadecimal digits that stand for the pixels: SHA-256, little endian, c h w."""
    little = np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("<"))
    return hashlib.sha256(little.data).hexdigest()[:32]


def array_metadata(shape: Sequence[int], dtype: npt.DTypeLike) -> dict[str, Any]:
    """Return what the zarr.json of a field's array holds, but for what tensorstore adds."""
    channels, height, width = shape
    kind = np.dtype(dtype)
    shard = [channels, _round_up(height), _round_up(width)]
    compress = {"typesize": kind.itemsize, "blocksize": 0, **_COMPRESSION}
    inner = [
        {"name": "bytes", "configuration": {"endian": "little"}},
        {"name": "blosc", "configuration": compress},
    ]
    if kind.itemsize == 1:
        inner[0] = {"name": "bytes"}
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
    """Return tensorstore's complaint as the OSError it began as, so that a full disk is named."""
    number = re.search(r"os_error_code='(\d+)'", str(error))
    if number is None:
        return OSError(f"{path} could not be written: {first_reason(error)}")
    return OSError(int(number[1]), os.strerror(int(number[1])), str(path))
