"""Opens a store and reads fields and crops as numpy arrays, without torch.

tensorstore reads the crops. A reader of shards in Python was faster by itself, but slower while the
same process trained, because it needed the GIL for every chunk (docs/log.md, 2026-11-25).
"""

import hashlib
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import tensorstore as ts
from jaxtyping import Float32, Int, UInt

from phenomae.records import FIELD_COLUMNS, LABEL_COLUMNS, PLATE_MAP_COLUMNS, cast_columns
from phenomae.signatures import SIGNATURE, read_verified, verify_content
from phenomae.store.files import read_file
from phenomae.store.handles import Target, open_arrays
from phenomae.store.in_place import REFERENCES, Reference, open_references, read_references
from phenomae.store.remote import read_remote_signature
from phenomae.urls import Location, below, locate

if TYPE_CHECKING:
    import pandas

KIND = "store"
TABLE = "fields.parquet"
REPORT = "ingest-report.csv"
LABELS = "labels.parquet"


@dataclass(frozen=True, repr=False)
class Store:
    """A finished store: its metadata and its table of fields. Pixels are read on demand.

    A store is also path-like (`os.fspath`), so that `embed` and `pretrain` accept it as a path.
    """

    path: Path | str
    """The store's folder, or its s3:// address as text."""
    channels: tuple[str, ...]
    dtype: str
    """`uint8` or `uint16`."""
    pixel_size_um: float | None
    """Micrometres per pixel; None if unknown."""
    fields: pl.DataFrame
    """The table of fields: one row per field, the columns of `records.FIELD_COLUMNS`, sorted by
    plate, well and site."""
    identity: str
    """Hash of the settings, the sources and the table of fields, which has a checksum of every
    field's pixels. Labels that replace those of ingest have an identity of their own."""
    label_sources: Mapping[str, str] = field(default_factory=dict)
    """Identities of the labels that replace those of ingest, and of their files; empty if none
    do."""
    references: Mapping[str, Reference] | None = None
    """Where the pixels are, by the `path` of a field, if the store was made with `in_place`."""

    def __fspath__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        plates = self.fields["plate"].n_unique()
        return (
            f"Store({str(self.path)!r}, plates={plates}, fields={len(self.fields)}, "
            f"channels={list(self.channels)})"
        )

    def to_polars(self) -> pl.DataFrame:
        """Return the table of fields, one row per field."""
        return self.fields

    def to_pandas(self) -> "pandas.DataFrame":
        """Return the table of fields as a pandas DataFrame."""
        return self.fields.to_pandas()

    @property
    def sources(self) -> dict[str, str]:
        """What an artefact that is made from the store records among its sources."""
        return {KIND: self.identity, **self.label_sources}

    def scale_to(self, pixel_size_um: float | None) -> float:
        """Return the stored pixels per pixel of `pixel_size_um`; 1 for None.

        Raises ValueError if the pixel size of the store is not known.
        """
        if pixel_size_um is None:
            return 1.0
        if self.pixel_size_um is None:
            raise ValueError(
                f"{self.path} has no pixel size and cannot be resampled to {pixel_size_um} um: "
                "ingest the plates again with pixel_size_um, or leave pixel_size_um out here"
            )
        return pixel_size_um / self.pixel_size_um

    def array(self, index: int) -> ts.TensorStore:
        """Return the tensorstore array (c, h, w) of the field in row `index` of `fields`.

        It is (c, z, h, w) if a store in place has the planes of a stack, to be projected.
        """
        return self.arrays([index])[0]

    def arrays(self, indices: Sequence[int]) -> list[ts.TensorStore]:
        """Return the tensorstore arrays of several fields, which are opened concurrently."""
        if self.references is not None:
            found = [self._reference(index) for index in indices]
            return open_references(found, self.dtype, self.identity)
        places = [Target(self.locate_array(index), self._shape(index)) for index in indices]
        return open_arrays(places, self.dtype, self.identity)

    def _reference(self, index: int) -> Reference:
        assert self.references is not None
        path = self.fields["path"][index]
        if path not in self.references:
            raise ValueError(f"{below(self.path, REFERENCES)} has no array for {path}")
        return self.references[path]

    def _shape(self, index: int) -> tuple[int, int, int]:
        return len(self.channels), self.fields["height"][index], self.fields["width"][index]

    def locate_array(self, index: int) -> str:
        """Return the absolute path or address of the array of the field in row `index`."""
        if self.references is not None:
            return self._reference(index).array
        location = below(self.path, f"{self.fields['path'][index]}/0")
        # Absolute, because open arrays are cached by path: after os.chdir a relative path could
        # name an array of another store.
        return location if isinstance(location, str) else os.path.abspath(location)


def open_store(location: Location) -> Store:
    """Open a finished store.

    Parameters
    ----------
    location
        The store's folder or s3:// address, or a `Store`.

    Raises
    ------
    ValueError
        If there is no store, or if the store is unfinished, damaged, or of another format.
    """
    path = locate(location)
    signature = read_store_signature(path)
    fields = read_fields(path, signature)
    label_sources = {}
    if LABELS in (signature["files"] or {}):
        fields = _replace_labels(fields, read_labels(path, signature))
        label_sources = {"labels": signature["labels"]["identity"]}
    channels, dtype, pixel_size_um = _read_settings(path, signature["settings"])
    return Store(
        path=path,
        channels=channels,
        dtype=dtype,
        pixel_size_um=pixel_size_um,
        fields=fields,
        identity=signature["identity"],
        label_sources=label_sources,
        references=read_references(path) if signature["settings"].get("in_place") else None,
    )


def read_fields(location: Path | str, signature: dict[str, Any]) -> pl.DataFrame:
    """Return a store's table of fields with the labels of ingest.

    Raises ValueError if the table is missing, damaged, or of an earlier version.
    """
    fields = read_table(location, signature)
    if missing := [name for name in FIELD_COLUMNS if name not in fields.columns]:
        raise ValueError(
            f"{below(location, TABLE)} has no column {missing[0]}: if an earlier version of "
            "phenomae made the store, ingest the plates again"
        )
    return cast_columns(fields, FIELD_COLUMNS, str(below(location, TABLE)))


def read_labels(location: Path | str, signature: dict[str, Any]) -> pl.DataFrame:
    """Return the labels that replace those of ingest: one row per well, `PLATE_MAP_COLUMNS`.

    Raises ValueError if they are missing or damaged.
    """
    labels = read_table(location, signature, LABELS)
    return cast_columns(labels, PLATE_MAP_COLUMNS, str(below(location, LABELS)))


def _replace_labels(fields: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """Return the table of fields with the labels of the wells that `labels` has."""
    keys = ["plate", "well"]
    new = fields.select(keys).join(labels, on=keys, how="left", maintain_order="left")
    # Plates that were added since have the labels of their own ingest. Only they lack `control`.
    known = new["control"].is_not_null()
    columns = {name: new[name].zip_with(known, fields[name]) for name in LABEL_COLUMNS}
    return fields.with_columns(**columns)


def _read_settings(
    location: Path | str, settings: dict[str, Any]
) -> tuple[tuple[str, ...], str, float | None]:
    """Return channels, dtype and pixel size from the settings in a store's signature."""
    channels, dtype = settings.get("channels"), settings.get("dtype")
    pixel_size_um = settings.get("pixel_size_um")
    if (
        not isinstance(channels, list)
        or not all(isinstance(name, str) for name in channels)
        or dtype not in ("uint8", "uint16")
        or not isinstance(pixel_size_um, float | int | None)
    ):
        raise ValueError(
            f"{below(location, SIGNATURE)} is damaged: the store's channels, dtype or pixel size "
            "are missing or invalid"
        )
    return tuple(channels), dtype, pixel_size_um


def read_store_signature(location: Path | str) -> dict[str, Any]:
    """Return the signature of a finished store; raises ValueError if there is none."""
    if isinstance(location, Path):
        _refuse_plate(location)
        return settle(location, read_verified(location, KIND, ()))
    found = read_remote_signature(location, KIND)
    if found is None or found["identity"] is None:
        # S3 answers a missing bucket in the same way as a missing file.
        nothing = "there is nothing of that name, or no such bucket"
        state = nothing if found is None else "it is unfinished: ingest it again"
        raise ValueError(f"{location} holds no store: {state}")
    return settle(location, found)


def _refuse_plate(folder: Path) -> None:
    """Raise ValueError if a folder is a Zarr group, such as a plate of other software."""
    if any((folder / name).exists() for name in ("zarr.json", ".zattrs", ".zgroup")):
        raise ValueError(
            f"{folder} is a Zarr group and no store: make one of OME-Zarr plates with ingest, "
            "which leaves the pixels where they are with in_place"
        )


def settle(location: Path | str, signature: dict[str, Any]) -> dict[str, Any]:
    """Return the signature that holds of a store whose change was stopped: its tables decide."""
    successor = signature.get("successor")
    if successor is None:
        return signature
    is_new = all(
        _has_content(below(location, name), successor["files"][name])
        for name in (TABLE, LABELS)
        if name in successor["files"]
    )
    return successor if is_new else signature


def _has_content(path: Path | str, checksum: str) -> bool:
    try:
        return hashlib.sha256(read_file(path)).hexdigest() == checksum
    except FileNotFoundError:
        return False


def read_table(location: Path | str, signature: dict[str, Any], name: str = TABLE) -> pl.DataFrame:
    """Return a store's table of fields; raises ValueError if it is missing or damaged."""
    path = below(location, name)
    try:
        content = read_file(path)
        verify_content(content, name, location, signature)
        return pl.read_parquet(io.BytesIO(content))
    except FileNotFoundError:
        raise ValueError(f"{path} is missing: the store is damaged") from None
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ValueError(f"{path} is not a Parquet file that can be read: {error}") from None


def read_field(store: Store, index: int) -> UInt[np.ndarray, "c h w"]:
    """Return all pixels of the field in row `index`; raises ValueError if they cannot be read."""
    pixels = _finish(store, index, store.array(index).read())
    return pixels if pixels.ndim == 3 else pixels.max(axis=1)


def read_crops(
    store: Store,
    indices: Sequence[int] | Int[np.ndarray, " b"],
    tops: Sequence[int] | Int[np.ndarray, " b"],
    lefts: Sequence[int] | Int[np.ndarray, " b"],
    size: int,
    channels: Sequence[int] | None = None,
) -> UInt[np.ndarray, "b c h w"]:
    """Read square crops of one or several fields in one batch.

    Parameters
    ----------
    indices
        Index of each crop's field: its row in `store.fields`.
    tops, lefts
        First pixel row and first pixel column of each crop in its field.
    size
        Side of the crops in pixels.
    channels
        Indices of the channels to read, in this order; None reads all.

    Raises
    ------
    ValueError
        If a crop reaches beyond its field, or if pixels cannot be read.
    """
    places = [(int(i), int(y), int(x)) for i, y, x in zip(indices, tops, lefts, strict=True)]
    every = list(range(len(store.channels)))
    chosen = every if channels is None else list(channels)
    arrays = store.arrays([index for index, _, _ in places])
    views = [
        _view_crop(store, array, *place, size) for array, place in zip(arrays, places, strict=True)
    ]
    if chosen != every:
        views = [view[chosen] for view in views]
    crops = np.empty((len(places), len(chosen), size, size), store.dtype)
    # tensorstore writes straight into `crops`, which saves a copy: 1.15 instead of 1.35 ms per crop
    # of 6 x 256 x 256 (docs/log.md, 2026-11-25). Within a batch, the shard index and the chunks
    # that several crops of a field need are read once.
    targets = [
        crop if view.ndim == 3 else np.empty(view.shape, store.dtype)
        for crop, view in zip(crops, views, strict=True)
    ]
    with ts.Batch() as batch:
        reads = [
            ts.array(target).write(view, batch=batch).commit
            for target, view in zip(targets, views, strict=True)
        ]
    for read, (index, _, _) in zip(reads, places, strict=True):
        _finish(store, index, read)
    for crop, target in zip(crops, targets, strict=True):
        if target.ndim > crop.ndim:
            target.max(axis=1, out=crop)
    return crops


def windows(
    store: Store, indices: Sequence[int] | Int[np.ndarray, " b"]
) -> Float32[np.ndarray, "b c 2"]:
    """Return low and high end of every channel's intensity window, for the fields in `indices`."""
    rows = store.fields[np.asarray(indices, dtype=np.int64)]
    ends = [
        np.array(rows[name].to_list(), dtype=np.float32) for name in ("window_low", "window_high")
    ]
    # Reshaped for the case of no indices: an array made from an empty list has no channel axis.
    return np.stack(ends, axis=-1).reshape(len(rows), len(store.channels), 2)


def _view_crop(
    store: Store, array: ts.TensorStore, index: int, top: int, left: int, size: int
) -> ts.TensorStore:
    height, width = array.shape[-2:]
    if not (0 <= top <= height - size and 0 <= left <= width - size):
        where = below(store.path, store.fields["path"][index])
        raise ValueError(
            f"{where} has no crop of {size} at {top}, {left}: the field is {height} x {width}"
        )
    # A tensorstore slice keeps its coordinates, so it is moved to begin at 0 like its target array.
    return array[..., top : top + size, left : left + size][ts.d[:].translate_to[0]]


def _finish(store: Store, index: int, read: ts.Future) -> np.ndarray:
    try:
        return read.result()
    except ValueError as error:
        where = below(store.path, store.fields["path"][index])
        if store.references is not None:
            where = f"{where}, which is {store.locate_array(index)},"
        raise ValueError(f"{where} cannot be read: {error}") from None
