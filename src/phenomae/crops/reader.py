"""Where crops are cut from: whole fields held in memory, or the stores themselves."""

from collections.abc import Sequence
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from jaxtyping import Int64, UInt, UInt8

from phenomae.crops.resample import resample
from phenomae.crops.tensors import Crops
from phenomae.store.read import Store, read_crops, read_field, windows

Reading = Literal["memory", "fields", "crops"]
"""`memory` reads whole fields when they are first needed and keeps them, `fields` keeps those of
the last call only, `crops` reads every crop by itself."""


class CropReader:
    """Cuts crops out of the fields of one store or of several, counted through."""

    def __init__(
        self,
        stores: Sequence[Store],
        reading: Reading,
        channels: Sequence[str] | None = None,
        pixel_size_um: float | None = None,
    ) -> None:
        """Take `channels` of every store, in this order; None takes each store's own as they lie.

        Crops are brought to `pixel_size_um`; None leaves every store's pixels as they are. Raises
        ValueError where a store lacks a channel, or has to be brought to another pixel size and
        does not know its own.
        """
        self.stores = stores
        self.wanted = channels
        self.pixel_size_um = pixel_size_um
        self.reading = reading
        self.sizes = np.concatenate([_sizes(store) for store in stores])
        """Height and width of every field."""
        self.store_of = np.repeat(np.arange(len(stores)), [len(item.fields) for item in stores])
        """Which store every field lies in."""
        self._first = np.concatenate([[0], np.cumsum([len(item.fields) for item in stores])])
        self._channels = [_find_channels(store, channels) for store in stores]
        self._windows = [
            windows(store, range(len(store.fields)))[:, chosen]
            for store, chosen in zip(stores, self._channels, strict=True)
        ]
        self._scales = [_find_scale(store, pixel_size_um) for store in stores]
        self._held: dict[int, UInt[np.ndarray, "c h w"]] = {}

    def sides(self, size: int) -> Int64[np.ndarray, " s"]:
        """Return, for every store, how many of its own pixels become a crop's side of `size`."""
        return np.array([max(1, round(size * scale)) for scale in self._scales], dtype=np.int64)

    def channels_of(self, field: int) -> tuple[str, ...]:
        """Return the names of the channels that crops of a field have."""
        at = self.store_of[field]
        return tuple(self.stores[at].channels[channel] for channel in self._channels[at])

    @cached_property
    def kinds(self) -> Int64[np.ndarray, " n"]:
        """A number for every field; fields of one number can stand in one step.

        They have the same channels in the same order, and the same type of pixels.
        """
        found: dict[tuple[object, ...], int] = {}
        kinds = [
            found.setdefault(
                (store.dtype, *(store.channels[channel] for channel in chosen)), len(found)
            )
            for store, chosen in zip(self.stores, self._channels, strict=True)
        ]
        return np.array(kinds, dtype=np.int64)[self.store_of]

    def read_by(self, reading: Reading) -> "CropReader":
        """Return a source of the same fields and channels that reads in another way."""
        return CropReader(self.stores, reading, self.wanted, self.pixel_size_um)

    def crops(
        self,
        fields: Int64[np.ndarray, " b"],
        tops: Int64[np.ndarray, " b"],
        lefts: Int64[np.ndarray, " b"],
        size: int,
        turns: UInt8[np.ndarray, " b"] | None = None,
    ) -> Crops:
        """Return square crops of `size` pixels a side, of fields of one kind.

        `tops` and `lefts` are in the fields' own pixels. `turns` of None leaves crops as they lie.
        """
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
        pixels = parts[0][1]
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
        """Read crops of one store, `size` of its own pixels a side."""
        chosen = self._channels[owner]
        if self.reading == "crops":
            return read_crops(self.stores[owner], rows, tops, lefts, size, chosen)
        fields = (rows + self._first[owner]).tolist()
        self._hold(set(fields))
        shape = (len(fields), len(chosen), size, size)
        pixels = np.empty(shape, dtype=self.stores[owner].dtype)
        places = zip(pixels, fields, tops.tolist(), lefts.tolist(), strict=True)
        for crop, field, top, left in places:
            whole = self._held[field][:, top : top + size, left : left + size]
            for plane, channel in zip(crop, chosen, strict=True):
                plane[:] = whole[channel]
        return pixels

    def _hold(self, fields: set[int]) -> None:
        """Read those of the fields that are not in memory yet."""
        if self.reading == "fields":
            self._held = {field: self._held[field] for field in fields & self._held.keys()}
        for field in sorted(fields - self._held.keys()):
            owner = self.store_of[field]
            self._held[field] = read_field(self.stores[owner], field - int(self._first[owner]))


def choose_reading(stores: Sequence[Store], cache_gb: float) -> Reading:
    """Return `memory` where all fields fit into `cache_gb` (10^9 bytes), else `crops`."""
    size = sum(
        int(_sizes(store).prod(axis=1).sum()) * len(store.channels) * np.dtype(store.dtype).itemsize
        for store in stores
    )
    return "memory" if size <= cache_gb * 1e9 else "crops"


def check_pixel_size(pixel_size_um: float | None) -> None:
    """Raise ValueError unless crops can be brought to so many micrometres a pixel."""
    if pixel_size_um is not None and not 0 < pixel_size_um < float("inf"):
        raise ValueError(f"pixel_size_um must be above 0, not {pixel_size_um}")


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


def _find_scale(store: Store, pixel_size_um: float | None) -> float:
    """Return how many of a store's pixels make one of those that are wanted, along a side."""
    if pixel_size_um is None:
        return 1.0
    if store.pixel_size_um is None:
        raise ValueError(
            f"{store.path} does not know its pixel size and cannot be brought to {pixel_size_um} "
            "um: ingest it with --pixel-size-um, or leave pixel_size_um out"
        )
    return pixel_size_um / store.pixel_size_um
