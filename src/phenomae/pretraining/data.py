"""What a run trains on, what it is measured on, and what it is pictured with."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Int64

from phenomae.crops.fields import balance, check_balance
from phenomae.crops.reader import CropReader, choose_reading
from phenomae.crops.stream import CropStream, centre_crops
from phenomae.crops.tensors import Crops
from phenomae.pretraining.settings import TrainingSettings
from phenomae.pretraining.validation_split import split_fields
from phenomae.store.read import Store

_PICTURED = 3
_MEASURED_AT_ONCE = 64


@dataclass(frozen=True)
class Data:
    """The fields of one store or of several, split by wells, and in groups that share a step."""

    reader: CropReader
    fields: pl.DataFrame
    """One row a field, counted as the reader does: the columns of a store's fields.parquet."""
    training: Int64[np.ndarray, " n"]
    held_out: Int64[np.ndarray, " m"]
    group_of: Int64[np.ndarray, " f"]
    """Which group every field is of; a step's crops come from one group."""
    crop_size: int

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels of all stores, in the order in which they first come up."""
        firsts = np.flatnonzero(np.diff(self.reader.store_of, prepend=-1))
        names = [name for field in firsts for name in self.reader.channels_of(int(field))]
        return tuple(dict.fromkeys(names))

    def stream(
        self,
        settings: TrainingSettings,
        groups_per_step: int,
        pin: bool,
        share: range | None = None,
    ) -> CropStream:
        """Return the crops of every step, or a process's share of them."""
        weights = np.ones(len(self.fields))
        if settings.balance is not None:
            weights[self.training] = balance(self.fields[settings.balance][self.training])
        return CropStream(
            self.reader,
            self._by_group(self.training),
            self.crop_size,
            settings.crops_per_step,
            settings.seed,
            groups_per_step,
            pin,
            weights,
            settings.crops_per_field,
            share,
        )

    def validation(self, most: int) -> list[Crops]:
        """Return up to `most` crops of held-out wells, a few dozen of one group at a time."""
        parts = [
            group[start : start + _MEASURED_AT_ONCE]
            for group in self._by_group(_spread(self.held_out, most))
            for start in range(0, len(group), _MEASURED_AT_ONCE)
        ]
        return [centre_crops(self.reader, part, self.crop_size) for part in parts]

    def pictured(self) -> Crops:
        """Return a few crops of held-out wells, or of others where none is held out."""
        fields = self.held_out if len(self.held_out) else self.training
        group = max(self._by_group(fields), key=len)
        return centre_crops(self.reader, _spread(group, _PICTURED), self.crop_size)

    def spread(self, field: int, most: int) -> Crops:
        """Return the middles of up to `most` fields of one field's group, spread evenly over it."""
        group = np.flatnonzero(self.group_of == self.group_of[field])
        return centre_crops(self.reader, _spread(group, most), self.crop_size)

    def _by_group(self, fields: Int64[np.ndarray, " n"]) -> list[Int64[np.ndarray, " _g"]]:
        groups = self.group_of[fields]
        return [fields[groups == group] for group in np.unique(groups)]


def open_data(
    stores: Sequence[Store],
    crop_size: int,
    settings: TrainingSettings,
    channels: Sequence[str] | None = None,
    by_plate: bool = False,
) -> Data:
    """Split the stores' wells into those to train on and those held out.

    `channels` are taken from every store, in this order; None takes each store's own, and a step's
    crops then come from stores of the same channels. With `by_plate` they come from one plate.
    Raises ValueError where a store has no field, lacks a channel or the column to balance by, does
    not know its pixel size and has to, or has a field smaller than a crop.
    """
    reading = choose_reading(stores, settings.cache_gb)
    reader = CropReader(stores, reading, channels, settings.pixel_size_um)
    for store, side in zip(stores, reader.sides(crop_size).tolist(), strict=True):
        _check_fields(store, crop_size, side)
    if settings.balance is not None:
        check_balance(stores, settings.balance)
    fields = pl.concat([store.fields for store in stores])
    training, held_out = split_fields(fields, settings.validation, settings.seed)
    parts = [reader.kinds, *([reader.store_of, _number(fields["plate"])] if by_plate else [])]
    _, group_of = np.unique(np.stack(parts), axis=1, return_inverse=True)
    return Data(reader, fields, training, held_out, group_of.astype(np.int64), crop_size)


def share_channels(stores: Sequence[Store]) -> tuple[str, ...]:
    """Return the channels of the first store, which the others must have too, in whatever order.

    Raises ValueError where one has others.
    """
    first = stores[0]
    for store in stores[1:]:
        if set(store.channels) != set(first.channels):
            raise ValueError(
                f"{store.path} has the channels {', '.join(store.channels)}, but {first.path} has "
                f"{', '.join(first.channels)}: this family needs the same in every store "
                "(pretrain channel-mae takes any)"
            )
    return first.channels


def _check_fields(store: Store, crop_size: int, side: int) -> None:
    """Raise ValueError unless there are fields, and crops of `side` of their pixels fit in each."""
    if store.fields.is_empty():
        raise ValueError(f"{store.path} holds no field to train on: ingest plates with images")
    sides = store.fields.select(pl.min_horizontal("height", "width")).to_series()
    if sides.min() < side:  # pyright: ignore
        smallest = store.fields.row(int(sides.arg_min() or 0), named=True)
        scaled = f" ({side} of its own pixels)" if side != crop_size else ""
        raise ValueError(
            f"crop_size {crop_size}{scaled} is larger than a field of {store.path}: "
            f"{smallest['path']} has {smallest['height']} x {smallest['width']} pixels; take a "
            "smaller crop_size"
        )


def _number(names: pl.Series) -> Int64[np.ndarray, " n"]:
    """Return a number for every name, the same for the same name."""
    return np.unique(names.to_numpy(), return_inverse=True)[1].astype(np.int64)


def _spread(fields: Int64[np.ndarray, " n"], most: int) -> Int64[np.ndarray, " m"]:
    """Return up to `most` of the fields, evenly over all of them."""
    count = min(most, len(fields))
    return fields[np.arange(count) * len(fields) // max(count, 1)]
