"""Stores in place: their fields stay in the OME-Zarr plates that other software wrote.

The table `in-place.arrow` has the array of every field and the planes of its channels. It is no
part of the store's identity, so that plates may be moved and the store told where they are.
"""

import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import tensorstore as ts

from phenomae.images.fields import Place, RawField
from phenomae.images.pixels.zarr_array import (
    list_chunk_times,
    list_missing_chunks,
    open_plane,
    require_metadata,
)
from phenomae.store.files import read_file, write_file
from phenomae.store.handles import Target, open_arrays
from phenomae.urls import below, is_address
from phenomae.whole_files import hash_json

REFERENCES = "in-place.arrow"
_LOST = "lacks chunks that it had at ingest"
_SCHEMA: dict[str, Any] = {
    "path": pl.String,
    "array": pl.String,
    "driver": pl.String,
    "shape": pl.List(pl.Int64),
    "planes": pl.List(pl.List(pl.List(pl.Int64))),
    "whole": pl.Boolean,
    "missing": pl.List(pl.List(pl.Int64)),
    "times": pl.String,
}


@dataclass(frozen=True)
class Reference:
    """Where the pixels of one field are."""

    array: str
    """Absolute path or address of a Zarr array."""
    driver: str
    """tensorstore's driver: `zarr` or `zarr3`."""
    shape: tuple[int, ...]
    planes: tuple[tuple[tuple[int, ...], ...], ...]
    """Index of each plane on the axes before y and x, by channel. Several planes of a channel are
    read as their maximum projection."""
    whole: bool
    """Whether all chunks of the planes were stored at ingest, so that a missing one is damage."""
    missing: tuple[tuple[int, ...], ...]
    """Numbers of the chunks of each plane that were not stored at ingest; empty if `whole`."""
    times: str
    """Hash of the times at which the files of the planes last changed; empty for addresses."""

    def indices(self) -> list[tuple[int, ...]]:
        """Return the index of every plane."""
        return [index for planes in self.planes for index in planes]

    def places(self) -> list[Place]:
        """Return the place of every plane."""
        return [Place(self.array, index=index) for index in self.indices()]


References = Mapping[str, Reference]
"""References by the path of the field in the store's table."""


def require_referable(source: Path | str, fields: Sequence[RawField]) -> None:
    """Raise ValueError unless each field lies in one Zarr array."""
    for field in fields:
        places = [place for image in field.images for place in image.planes]
        others = [place for place in places if place.index is None]
        if others:
            raise ValueError(
                f"{source}: in_place needs OME-Zarr plates, but {others[0]} is a file of its own"
            )
        arrays = list(dict.fromkeys(place.url for place in places))
        if len(arrays) > 1:
            raise ValueError(
                f"{source}: in_place needs the channels of a field in one array, but {field} has "
                f"{arrays[0]} and {arrays[1]}"
            )


def make_reference(field: RawField) -> Reference:
    """Return the reference of a field that lies in one Zarr array."""
    planes = tuple(tuple(place.index or () for place in image.planes) for image in field.images)
    places = [place for image in field.images for place in image.planes]
    url = places[0].url
    array = url if is_address(url) else os.path.abspath(url)
    driver, metadata = require_metadata(array)
    indices = [place.index or () for place in places]
    whole = _is_whole(places, metadata)
    missing = () if whole else tuple(list_missing_chunks(array, indices))
    shape, times = tuple(metadata["shape"]), hash_places(places)
    return Reference(array, driver, shape, planes, whole, missing, times)


def hash_places(places: Sequence[Place]) -> str:
    """Return a hash of the times of the files of planes; empty if they are at an address."""
    if is_address(places[0].url):
        return ""
    return hash_json([list_chunk_times(place) for place in places])


def _is_whole(places: Sequence[Place], metadata: Mapping[str, Any]) -> bool:
    """Return whether all chunks of planes of an array are stored, also those inside of shards."""
    try:
        for place in places:
            found = open_plane(place).storage_statistics(query_fully_stored=True).result()
            if not found.fully_stored:
                return False
    except NotImplementedError:  # servers of plain HTTP list no files
        if any(codec.get("name") == "sharding_indexed" for codec in metadata.get("codecs", ())):
            return False
        planes = [place.index or () for place in places]
        return not any(list_missing_chunks(places[0].url, planes))
    except ValueError:
        return False
    return True


def read_references(store: Path | str, *, is_new: bool = False) -> dict[str, Reference]:
    """Return the references of a store in place; a store that `is_new` may have none yet.

    Raises ValueError if they cannot be read.
    """
    location = below(store, REFERENCES)
    try:
        content = read_file(location)
    except FileNotFoundError:
        if is_new:
            return {}
        raise ValueError(f"{location} is missing: the store is damaged") from None
    try:
        rows = pl.read_ipc(io.BytesIO(content)).select(list(_SCHEMA)).iter_rows(named=True)
        return {row.pop("path"): _read_row(row) for row in rows}
    except (pl.exceptions.PolarsError, TypeError, OSError) as error:  # OSError: a file cut short
        reason = str(error).splitlines()[0]
        raise ValueError(f"{location} cannot be read as a table: {reason}") from None


def _read_row(row: dict[str, Any]) -> Reference:
    planes = tuple(tuple(tuple(index) for index in planes) for planes in row.pop("planes"))
    missing = tuple(map(tuple, row.pop("missing")))
    return Reference(planes=planes, shape=tuple(row.pop("shape")), missing=missing, **row)


def write_references(store: Path | str, references: References) -> None:
    """Write what `read_references` reads, completely or not at all."""
    rows = [{"path": path, **asdict(reference)} for path, reference in references.items()]
    buffer = io.BytesIO()
    pl.DataFrame(rows, _SCHEMA).write_ipc(buffer, compression="zstd")
    write_file(below(store, REFERENCES), buffer.getvalue())


def open_references(
    references: Sequence[Reference], dtype: str, identity: str
) -> list[ts.TensorStore]:
    """Return views (c, h, w) of the fields, or (c, z, h, w) of planes to be projected.

    Raises ValueError if an array is not there, if it is not of the recorded shape and dtype, or if
    chunks on this machine are missing that were there at ingest.
    """
    targets = [Target(it.array, it.shape, it.driver, it.whole) for it in references]
    arrays = open_arrays(targets, dtype, identity)
    for reference in references:
        # Where no chunk was missing at ingest, tensorstore itself notices one when it is read.
        if not reference.whole and not is_address(reference.array):
            _require_chunks(reference, identity)
    return [_view(*pair) for pair in zip(arrays, references, strict=True)]


# Once per field, because it looks for each file. The identity is that of the store, as in
# handles.py: a store that is replaced is looked at again.
@lru_cache(maxsize=4096)
def _require_chunks(reference: Reference, identity: str) -> None:
    if _lacks_chunks(reference):
        raise ValueError(f"{reference.array} {_LOST}: they would be read as black")


def _lacks_chunks(reference: Reference) -> bool:
    """Return whether a chunk (or shard) is missing that was stored at ingest."""
    now = list_missing_chunks(reference.array, reference.indices())
    before = reference.missing or ((),) * len(now)
    return any(set(one) - set(other) for one, other in zip(now, before, strict=True))


def _view(array: ts.TensorStore, reference: Reference) -> ts.TensorStore:
    index = np.array(reference.planes)  # channel, plane, axis
    if index.shape[2] == 0:
        return array[ts.newaxis]
    if index.shape[1] == 1:
        index = index[:, 0]
    return array[tuple(np.moveaxis(index, -1, 0))]


def find_reference_damage(
    reference: Reference | None, dtype: str, identity: str, quick: bool
) -> str | None:
    """Return what is wrong with the array of a field, as far as its metadata and files tell.

    With `quick`, changed times of its files are damage: no pixels are compared that could show that
    it is only a copy.
    """
    if reference is None:
        return f"{REFERENCES} has no array for it"
    try:
        [view] = open_references([reference], dtype, identity)
        if not quick:
            return None
        if hash_places(reference.places()) != reference.times:
            return f"files of {reference.array} have changed since ingest (by their times)"
        return f"{reference.array} {_LOST}" if _is_incomplete(reference, view) else None
    except (ValueError, OSError, NotImplementedError) as error:
        return str(error).splitlines()[0]


def _is_incomplete(reference: Reference, view: ts.TensorStore) -> bool:
    try:
        kept = view.storage_statistics(query_fully_stored=True, query_not_stored=True).result()
    except NotImplementedError:  # servers of plain HTTP list no files
        return _lacks_chunks(reference)
    if kept.not_stored or (reference.whole and not kept.fully_stored):
        return True
    return not reference.whole and _lacks_chunks(reference)
