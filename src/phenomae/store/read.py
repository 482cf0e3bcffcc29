"""Opens a store and reads fields and crops from it. No torch here."""

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import tensorstore as ts
from jaxtyping import Float32, Int, UInt

from phenomae.artefacts import SIGNATURE, read_signature
from phenomae.records import FIELD_COLUMNS, cast_columns
from phenomae.store.files import array_location, read_file
from phenomae.store.remote import read_remote_signature
from phenomae.urls import below, locate

KIND = "store"
TABLE = "fields.parquet"
REPORT = "ingest-report.csv"
# Arrays that are kept open. With 4096, memory grew by up to 200 kB for each: 10 kB of its own, and
# what could not be given back around it, as it lies among the buffers of pixels.
_HANDLES = 512


@dataclass(frozen=True)
class Store:
    """A store as its metadata tells it; pixels are read when asked for."""

    path: Path | str
    """Where it lies: a path or an address."""
    channels: tuple[str, ...]
    dtype: str
    """`uint8` or `uint16`."""
    pixel_size_um: float | None
    """Micrometres a pixel; None where nobody said."""
    fields: pl.DataFrame
    """One row a field, the columns of `records.FIELD_COLUMNS`, sorted by plate, well and site."""
    identity: str
    """Hash of what made it and of its pixels."""

    def array(self, index: int) -> ts.TensorStore:
        """Return the array (c, h, w) of a field, by its row in `fields`; some are kept open."""
        return self.arrays([index])[0]

    def arrays(self, indices: Sequence[int]) -> list[ts.TensorStore]:
        """Return the arrays of fields, opened side by side, as on S3 each has to wait."""
        opened = {index: _begin_opening(self._locate(index), self.identity) for index in indices}
        return [_finish_opening(self._locate(index), opened[index]) for index in indices]

    def _locate(self, index: int) -> str:
        location = below(self.path, f"{self.fields['path'][index]}/0")
        return location if isinstance(location, str) else os.path.abspath(location)


def open_store(location: Path | str) -> Store:
    """Open a finished store: a path, or an s3:// address.

    Raises ValueError where it is no store, unfinished, damaged, or of another version.
    """
    signature = read_store_signature(location)
    fields = read_table(location)
    if missing := [name for name in FIELD_COLUMNS if name not in fields.columns]:
        raise ValueError(
            f"{below(location, TABLE)} has no column {missing[0]}: if an earlier version of "
            "phenomae made the store, ingest its plates again"
        )
    channels, dtype, pixel_size_um = _read_settings(location, signature["settings"])
    return Store(
        path=location,
        channels=channels,
        dtype=dtype,
        pixel_size_um=pixel_size_um,
        fields=cast_columns(fields, FIELD_COLUMNS, str(below(location, TABLE))),
        identity=signature["identity"],
    )


def _read_settings(
    location: Path | str, settings: dict[str, Any]
) -> tuple[tuple[str, ...], str, float | None]:
    """Return channels, type and pixel size as a store's signature tells them."""
    channels, dtype = settings.get("channels"), settings.get("dtype")
    pixel_size_um = settings.get("pixel_size_um")
    if (
        not isinstance(channels, list)
        or not all(isinstance(name, str) for name in channels)
        or dtype not in ("uint8", "uint16")
        or not isinstance(pixel_size_um, float | int | None)
    ):
        raise ValueError(
            f"{below(location, SIGNATURE)} is damaged: it does not tell the store's channels, "
            "dtype and pixel size"
        )
    return tuple(channels), dtype, pixel_size_um


def read_store_signature(location: Path | str) -> dict[str, Any]:
    """Return what made a finished store; raises ValueError where there is none."""
    if isinstance(location, Path):
        return read_signature(location, KIND)
    found = read_remote_signature(location, KIND)
    if found is None or found["identity"] is None:
        # A server tells of a bucket that is not there as it tells of a file.
        nothing = "there is nothing of that name, or no such bucket"
        state = nothing if found is None else "it is unfinished: ingest it again"
        raise ValueError(f"{location} holds no store: {state}")
    return found


def read_table(location: Path | str) -> pl.DataFrame:
    """Return the table of a store; raises ValueError where it is missing or damaged."""
    path = below(location, TABLE)
    try:
        return pl.read_parquet(io.BytesIO(read_file(path)))
    except FileNotFoundError:
        raise ValueError(f"{path} is missing: the store is damaged") from None
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ValueError(f"{path} is not a Parquet file that can be read: {error}") from None


def read_field(store: Store, index: int) -> UInt[np.ndarray, "c h w"]:
    """Read all pixels of one field; raises ValueError where they are damaged."""
    return _finish(store, index, store.array(index).read())


def read_crops(
    store: Store,
    indices: Sequence[int] | Int[np.ndarray, " b"],
    tops: Sequence[int] | Int[np.ndarray, " b"],
    lefts: Sequence[int] | Int[np.ndarray, " b"],
    size: int,
    channels: Sequence[int] | None = None,
) -> UInt[np.ndarray, "b c h w"]:
    """Read square crops of `size` pixels, all at once; raises ValueError beyond a field's edge.

    `channels` are taken in this order, counted as the store does; None takes all.
    """
    wanted = [(int(i), int(y), int(x)) for i, y, x in zip(indices, tops, lefts, strict=True)]
    every = list(range(len(store.channels)))
    taken = every if channels is None else list(channels)
    arrays = store.arrays([index for index, _, _ in wanted])
    views = [
        _view_crop(store, array, *place, size) for array, place in zip(arrays, wanted, strict=True)
    ]
    if taken != every:
        views = [view[taken] for view in views]
    crops = np.empty((len(wanted), len(taken), size, size), store.dtype)
    # Written right where they belong, which saves a copy; in one batch, so that crops of a field
    # share its index and the chunks they have in common.
    with ts.Batch() as batch:
        reads = [
            ts.array(crop).write(view, batch=batch).commit
            for crop, view in zip(crops, views, strict=True)
        ]
    for read, (index, _, _) in zip(reads, wanted, strict=True):
        _finish(store, index, read)
    return crops


def windows(
    store: Store, indices: Sequence[int] | Int[np.ndarray, " b"]
) -> Float32[np.ndarray, "b c 2"]:
    """Return what becomes 0 and what becomes 1 in every channel of the fields `indices`."""
    rows = store.fields[np.asarray(indices, dtype=np.int64)]
    ends = [
        np.array(rows[name].to_list(), dtype=np.float32) for name in ("window_low", "window_high")
    ]
    return np.stack(ends, axis=-1).reshape(len(rows), len(store.channels), 2)


def _view_crop(
    store: Store, array: ts.TensorStore, index: int, top: int, left: int, size: int
) -> ts.TensorStore:
    _, height, width = array.shape
    if not (0 <= top <= height - size and 0 <= left <= width - size):
        where = below(store.path, store.fields["path"][index])
        raise ValueError(
            f"{where} has no crop of {size} at {top}, {left}: the field is {height} x {width}"
        )
    return array[:, top : top + size, left : left + size][ts.d[:].translate_to[0]]


def _finish(store: Store, index: int, read: ts.Future) -> np.ndarray:
    try:
        return read.result()
    except ValueError as error:
        where = below(store.path, store.fields["path"][index])
        raise ValueError(f"{where} cannot be read: {error}") from None


def _begin_opening(path: str, identity: str) -> ts.Future:
    return _begin_in_process(path, identity, os.getpid())


def _finish_opening(path: str, opened: ts.Future) -> ts.TensorStore:
    try:
        return opened.result()
    except ValueError as error:
        _begin_in_process.cache_clear()  # what has been mended since is to be opened anew
        raise ValueError(f"{path} cannot be opened: {error}") from None


# The identity is there so that a store replaced under its name is opened anew, the process so that
# a forked one does not inherit its parent's handles.
@lru_cache(maxsize=_HANDLES)
def _begin_in_process(path: str, identity: str, process: int) -> ts.Future:
    spec = {
        "driver": "zarr3",
        "kvstore": array_location(locate(path)),
        "recheck_cached_data": "open",  # a finished store does not change
        "fill_missing_data_reads": False,  # every shard is written, so one that is gone is damage
    }
    return ts.open(spec, open=True, read=True)
