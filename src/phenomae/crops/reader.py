"""Reads crops of stores, from whole fields kept in memory or crop by crop from the stores.

Both ways return the same crops, so the result of a training does not depend on available memory.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from jaxtyping import Int64, UInt, UInt8

from phenomae.checks import above
from phenomae.crops.resample import resample
from phenomae.crops.tensors import Crops
from phenomae.store.read import Store, read_crops, read_field, windows

Reading = Literal["memory", "fields", "crops"]
"""How pixels are read: `memory` reads each whole field when it is first needed and keeps it in
memory, `fields` keeps only the fields of the last call, and `crops` reads only the crops."""


class CropReader:
    """Reads crops from the fields of one or several stores.

    The fields of all stores are numbered consecutively from 0, in the order of `stores` and of the
    rows of each store's table.
    """

    def __init__(
        self,
        stores: Sequence[Store],
        reading: Reading,
        channels: Sequence[str] | None = None,
        pixel_size_um: float | None = None,
    ) -> None:
        """Prepare to read from `stores`, without reading pixels.

        Parameters
        ----------
        reading
            How pixels are read; see `Reading`.
        channels
            Channels to read from every store, in this order; None reads all channels of each store.
        pixel_size_um
            Micrometres per pixel to which crops are resampled; None does not resample.

        Raises
        ------
        ValueError
            If a store lacks a channel, or if `pixel_size_um` is given for a store whose pixel size
            is unknown.
        """
        self.stores = stores
        self.channels = channels
        self.pixel_size_um = pixel_size_um
        self.reading = reading
        self.sizes = np.concatenate([_sizes(store) for store in stores])
        """Height and width of every field in stored pixels, before resampling."""
        self.store_of = np.repeat(np.arange(len(stores)), [len(item.fields) for item in stores])
        """For every field, the index of its store in `stores`."""
        self._first = np.concatenate([[0], np.cumsum([len(item.fields) for item in stores])])
        self._channels = [_find_channels(store, channels) for store in stores]
        # Converted once for all fields, and not for the crops of every step.
        self._windows = [
            windows(store, range(len(store.fields)))[:, chosen]
            for store, chosen in zip(stores, self._channels, strict=True)
        ]
        self._scales = [store.scale_to(pixel_size_um) for store in stores]
        self._cached: dict[int, UInt[np.ndarray, "c h w"]] = {}

    def sides(self, size: int) -> Int64[np.ndarray, " s"]:
        """Return, for each store, the side in stored pixels of a crop that has `size` resampled."""
        # Rounded to whole pixels: the area of a crop is off by at most half a pixel per side.
        return np.array([max(1, round(size * scale)) for scale in self._scales], dtype=np.int64)

    def channels_of(self, field: int) -> tuple[str, ...]:
        """Return the channel names of crops of the field with number `field`."""
        at = self.store_of[field]
        return tuple(self.stores[at].channels[channel] for channel in self._channels[at])

    @cached_property
    def kinds(self) -> Int64[np.ndarray, " n"]:
        """The kind of every field; a training step can contain only fields of the same kind.

        Fields of the same kind have the same channels in the same order, and the same dtype: in an
        array of dtype uint8, a uint16 crop would lose its high bits.
        """
        found: dict[tuple[object, ...], int] = {}
        kinds = [
            found.setdefault(
                (store.dtype, *(store.channels[channel] for channel in chosen)), len(found)
            )
            for store, chosen in zip(self.stores, self._channels, strict=True)
        ]
        return np.array(kinds, dtype=np.int64)[self.store_of]

    @property
    def kept_bytes(self) -> int:
        """Memory that fields take once all of them are kept; 0 if they are not kept."""
        if self.reading != "memory":
            return 0
        pixel = [len(store.channels) * np.dtype(store.dtype).itemsize for store in self.stores]
        return int(self.sizes.prod(axis=1) @ np.array(pixel)[self.store_of])

    def read_by(self, reading: Reading) -> "CropReader":
        """Return a reader of the same fields and channels that uses another `Reading`."""
        return CropReader(self.stores, reading, self.channels, self.pixel_size_um)

    def crops(
        self,
        fields: Int64[np.ndarray, " b"],
        tops: Int64[np.ndarray, " b"],
        lefts: Int64[np.ndarray, " b"],
        size: int,
        turns: UInt8[np.ndarray, " b"] | None = None,
    ) -> Crops:
        """Return square crops of one or several fields of the same kind (see `kinds`).

        Parameters
        ----------
        fields
            The number of each crop's field.
        tops, lefts
            First row and column of each crop in stored pixels, before resampling.
        size
            Side of the returned crops in pixels, after resampling.
        turns
            The augmentation of each crop, see `Crops.turns`; None is no augmentation.
        """
        # One array holds all crops, so they must have the same channels and dtype.
        assert len(np.unique(self.kinds[fields])) == 1
        owners, rows = self.store_of[fields], fields - self._first[self.store_of[fields]]
        first = self.stores[owners[0]]
        shape = (len(fields), len(self._channels[owners[0]]), size, size)
        limits = np.empty((*shape[:2], 2), dtype=np.float32)
        parts: list[tuple[Int64[np.ndarray, " m"], UInt[np.ndarray, "m c s s"]]] = []
        for owner in np.unique(owners).tolist():
            mine = np.flatnonzero(owners == owner)
            limits[mine] = self._windows[owner][rows[mine]]
            side = int(self.sides(size)[owner])
            found = self._read(owner, rows[mine], tops[mine], lefts[mine], side)
            parts.append((mine, resample(found, size)))
        pixels = parts[0][1]  # without a copy in the usual case, in which there is only one store
        if len(parts) > 1:
            pixels = np.empty(shape, dtype=first.dtype)
            for mine, found in parts:
                pixels[mine] = found
        if turns is None:
            turns = np.zeros(len(fields), dtype=np.uint8)
        return Crops(
            pixels=torch.from_numpy(pixels),
            windows=torch.from_numpy(limits),
            turns=torch.from_numpy(turns),
            keys=torch.from_numpy(np.stack([fields, tops, lefts], axis=1)),
            channels=self.channels_of(int(fields[0])),
        )

    def _read(
        self,
        owner: int,
        rows: Int64[np.ndarray, " b"],
        tops: Int64[np.ndarray, " b"],
        lefts: Int64[np.ndarray, " b"],
        size: int,
    ) -> UInt[np.ndarray, "b c h w"]:
        """Read crops of the store with index `owner`, with `size` stored pixels per side."""
        chosen = self._channels[owner]
        if self.reading == "crops":
            return read_crops(self.stores[owner], rows, tops, lefts, size, chosen)
        fields = (rows + self._first[owner]).tolist()
        self._cache(set(fields))
        shape = (len(fields), len(chosen), size, size)
        pixels = np.empty(shape, dtype=self.stores[owner].dtype)
        places = zip(pixels, fields, tops.tolist(), lefts.tolist(), strict=True)
        for crop, field, top, left in places:
            whole = self._cached[field][:, top : top + size, left : left + size]
            # Channel by channel, because numpy's indexing with a list would make another copy.
            for plane, channel in zip(crop, chosen, strict=True):
                plane[:] = whole[channel]
        return pixels

    def _cache(self, fields: set[int]) -> None:
        """Read those of `fields` that are not in memory yet."""
        # `embed` reads the fields of a plate in order and needs no field again later.
        if self.reading == "fields":
            self._cached = {field: self._cached[field] for field in fields & self._cached.keys()}
        for field in sorted(fields - self._cached.keys()):
            owner = self.store_of[field]
            self._cached[field] = read_field(self.stores[owner], field - int(self._first[owner]))


def choose_reading(stores: Sequence[Store], cache_gb: float) -> Reading:
    """Return `memory` if all fields fit into `cache_gb` (unit 10^9 bytes), else `crops`."""
    # The uncompressed size, because fields are kept decoded.
    size = sum(
        int(_sizes(store).prod(axis=1).sum()) * len(store.channels) * np.dtype(store.dtype).itemsize
        for store in stores
    )
    return "memory" if size <= cache_gb * 1e9 else "crops"


def check_pixel_size(pixel_size_um: float | None) -> None:
    """Raise ValueError unless `pixel_size_um` is None or positive."""
    above("pixel_size_um", pixel_size_um, 0)


def _find_channels(store: Store, channels: Sequence[str] | None) -> list[int]:
    if channels is None:
        return list(range(len(store.channels)))
    if missing := [name for name in channels if name not in store.channels]:
        raise ValueError(
            f"{store.path} has no channel {missing[0]!r}: it has {', '.join(store.channels)}"
        )
    return [store.channels.index(name) for name in channels]


def _sizes(store: Store) -> Int64[np.ndarray, "n 2"]:
    return store.fields.select("height", "width").to_numpy().astype(np.int64)
