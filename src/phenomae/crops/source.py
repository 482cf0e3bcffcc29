"""Where crops are cut from: whole fields held in memory, or the store itself."""

from typing import Literal

import numpy as np
import torch
from jaxtyping import Int64, UInt, UInt8

from phenomae.crops.tensors import Crops
from phenomae.store.read import Store, read_crops, read_field, windows

Reading = Literal["memory", "fields", "crops"]
"""`memory` reads whole fields when they are first needed and keeps them, `fields` keeps those of
the last call only, `crops` reads every crop by itself."""


class Source:
    """Cuts crops out of a store's fields."""

    def __init__(self, store: Store, reading: Reading) -> None:
        self.store = store
        self.reading = reading
        self.sizes = _sizes(store)
        """Height and width of every field."""
        self._windows = windows(store, range(len(store.fields)))
        self._held: dict[int, UInt[np.ndarray, "c h w"]] = {}

    def crops(
        self,
        fields: Int64[np.ndarray, " b"],
        tops: Int64[np.ndarray, " b"],
        lefts: Int64[np.ndarray, " b"],
        size: int,
        turns: UInt8[np.ndarray, " b"] | None = None,
    ) -> Crops:
        """Return square crops; `turns` of None leaves them as they lie."""
        if self.reading == "crops":
            pixels = read_crops(self.store, fields, tops, lefts, size)
        else:
            pixels = self._cut(fields, tops, lefts, size)
        if turns is None:
            turns = np.zeros(len(fields), dtype=np.uint8)
        return Crops(
            pixels=torch.from_numpy(pixels),
            windows=torch.from_numpy(self._windows[fields]),
            turns=torch.from_numpy(turns),
            keys=torch.from_numpy(np.stack([fields, tops, lefts], axis=1)),
        )

    def _cut(
        self,
        fields: Int64[np.ndarray, " b"],
        tops: Int64[np.ndarray, " b"],
        lefts: Int64[np.ndarray, " b"],
        size: int,
    ) -> UInt[np.ndarray, "b c h w"]:
        self._hold(set(fields.tolist()))
        shape = (len(fields), len(self.store.channels), size, size)
        pixels = np.empty(shape, dtype=self.store.dtype)
        places = zip(fields.tolist(), tops.tolist(), lefts.tolist(), strict=True)
        for row, (field, top, left) in enumerate(places):
            pixels[row] = self._held[field][:, top : top + size, left : left + size]
        return pixels

    def _hold(self, fields: set[int]) -> None:
        """Read those of the fields that are not in memory yet."""
        if self.reading == "fields":
            self._held = {field: self._held[field] for field in fields & self._held.keys()}
        for field in sorted(fields - self._held.keys()):
            self._held[field] = read_field(self.store, field)


def choose_reading(store: Store, cache_gb: float) -> Reading:
    """Return `memory` where all fields fit into `cache_gb` (10^9 bytes), else `crops`."""
    pixel_bytes = len(store.channels) * np.dtype(store.dtype).itemsize
    fits = int(_sizes(store).prod(axis=1).sum()) * pixel_bytes <= cache_gb * 1e9
    return "memory" if fits else "crops"


def _sizes(store: Store) -> Int64[np.ndarray, "n 2"]:
    return store.fields.select("height", "width").to_numpy().astype(np.int64)
