"""Splits the fields of one or several stores into training and validation, and groups them.

A group is a plate when AdaBN is on, and otherwise all fields with the same channels and pixel type.
All crops of a training step come from one group (with AdaBN, from `plates_per_step` groups). Each
group is sampled in proportion to its number of fields, or to the sum of their weights (`balance`,
`sample_by`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Float64, Int64

from phenomae.crops.fields import balance, check_balance, read_weights
from phenomae.crops.pairs import PairSampler
from phenomae.crops.reader import CropReader, choose_reading
from phenomae.crops.stream import CropStream, centre_crops
from phenomae.crops.tensors import Crops
from phenomae.pretraining.settings import TrainingSettings
from phenomae.pretraining.validation_split import split_fields
from phenomae.store.read import Store

_EXAMPLES = 3  # crops in a picture of reconstructions
_AT_ONCE = 64  # validation crops in one forward pass


@dataclass(frozen=True)
class Data:
    """The fields of a training run, numbered over all stores as in the reader."""

    reader: CropReader
    fields: pl.DataFrame
    """One row per field: the columns of a store's fields.parquet."""
    training: Int64[np.ndarray, " n"]
    """Rows of the fields to train on."""
    validation: Int64[np.ndarray, " m"]
    """Rows of the fields of validation wells."""
    group_of: Int64[np.ndarray, " f"]
    """Index of the group of every field."""
    weights: Float64[np.ndarray, " f"]
    """Sampling weight of every field."""
    crop_size: int

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels of all stores, in order of first appearance."""
        firsts = np.flatnonzero(np.diff(self.reader.store_of, prepend=-1))
        names = [name for field in firsts for name in self.reader.channels_of(int(field))]
        return tuple(dict.fromkeys(names))

    def stream(
        self,
        settings: TrainingSettings,
        groups_per_step: int,
        pin: bool,
        share: range | None = None,
        pairs: PairSampler | None = None,
    ) -> CropStream:
        """Return the stream of training crops; `share` are the indices of a process in a step.

        Raises ValueError if fewer groups than a step needs have fields with a weight.
        """
        groups = [group for group in self._by_group(self.training) if self.weights[group].any()]
        if len(groups) < groups_per_step:
            raise ValueError(
                f"plates_per_step must be at most {len(groups)}, the number of plates that "
                f"sample_by gives a weight, not {groups_per_step}"
            )
        return CropStream(
            self.reader,
            groups,
            self.crop_size,
            settings.crops_per_step,
            settings.seed,
            groups_per_step,
            pin,
            self.weights,
            settings.crops_per_field,
            pairs,
            share,
        )

    def validation_crops(self, max_crops: int) -> list[Crops]:
        """Return centre crops of up to `max_crops` validation fields, in batches of one group."""
        parts = [
            group[start : start + _AT_ONCE]
            for group in self._by_group(_spread(self.validation, max_crops))
            for start in range(0, len(group), _AT_ONCE)
        ]
        return [centre_crops(self.reader, part, self.crop_size) for part in parts]

    def example_crops(self) -> Crops:
        """Return a few crops for a picture, of validation wells if there are any."""
        fields = self.validation if len(self.validation) else self.training
        # Crops of one picture must have the same channels; the largest group is the most typical.
        group = max(self._by_group(fields), key=len)
        return centre_crops(self.reader, _spread(group, _EXAMPLES), self.crop_size)

    def training_crops(self, max_crops: int) -> list[Crops]:
        """Return centre crops of up to `max_crops` evenly spaced training fields, by group."""
        groups = self._by_group(_spread(self.training, max_crops))
        return [centre_crops(self.reader, group, self.crop_size) for group in groups]

    def group_crops(self, field: int, max_crops: int) -> Crops:
        """Return centre crops of up to `max_crops` evenly spaced fields in the group of `field`."""
        group = np.flatnonzero(self.group_of == self.group_of[field])
        return centre_crops(self.reader, _spread(group, max_crops), self.crop_size)

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
    """Split the wells of stores into training and validation, and group their fields.

    `channels` are read from every store, in this order. If None, each store's own channels are
    read, and fields are grouped by channels. With `by_plate` every plate is a group. Raises
    ValueError if a store has no field, lacks a channel or the column to balance by, has a field
    smaller than a crop, or has an unknown pixel size although crops are to be resampled, or if the
    table of `sample_by` cannot be used.
    """
    # Decided for all stores together, because `cache_gb` limits the sum of their sizes.
    reading = choose_reading(stores, settings.cache_gb)
    reader = CropReader(stores, reading, channels, settings.pixel_size_um)
    for store, side in zip(stores, reader.sides(crop_size).tolist(), strict=True):
        _check_fields(store, crop_size, side)
    if settings.balance is not None:
        check_balance(stores, settings.balance)
    fields = pl.concat([store.fields for store in stores])
    training, validation = split_fields(fields, settings.validation, settings.seed)
    # Plates of different stores may have the same name, so the store is part of the key.
    parts = [reader.kinds, *([reader.store_of, _number(fields["plate"])] if by_plate else [])]
    _, group_of = np.unique(np.stack(parts), axis=1, return_inverse=True)
    weights = _weigh_fields(fields, training, settings)
    return Data(reader, fields, training, validation, group_of.astype(np.int64), weights, crop_size)


def _weigh_fields(
    fields: pl.DataFrame, training: Int64[np.ndarray, " n"], settings: TrainingSettings
) -> Float64[np.ndarray, " f"]:
    """Return the sampling weight of every field; those of validation do not count."""
    weights, its = np.ones(len(fields)), fields[training]
    # From training fields only: a value's validation fields must not lower its weights.
    if settings.balance is not None:
        weights[training] = balance(its[settings.balance])
    if settings.sample_by is not None:
        weights[training] *= read_weights(Path(settings.sample_by), its)
    return weights


def share_channels(stores: Sequence[Store]) -> tuple[str, ...]:
    """Return the channels of the first store; the order may differ between stores.

    Raises ValueError if a store has other channels.
    """
    first = stores[0]
    for store in stores[1:]:
        if set(store.channels) != set(first.channels):
            raise ValueError(
                f"{store.path} has the channels {', '.join(store.channels)}, but {first.path} has "
                f"{', '.join(first.channels)}: this family needs the same channels in every store "
                "(pretrain channel-mae accepts different channels)"
            )
    return first.channels


def _check_fields(store: Store, crop_size: int, side: int) -> None:
    """Raise ValueError if the store has no field, or one with a side below `side` pixels."""
    if store.fields.is_empty():
        raise ValueError(f"{store.path} has no field to train on: ingest plates with images")
    sides = store.fields.select(pl.min_horizontal("height", "width")).to_series()
    if sides.min() < side:  # pyright: ignore
        smallest = store.fields.row(int(sides.arg_min() or 0), named=True)
        # With pixel_size_um a crop is cut larger or smaller and resampled.
        scaled = f" ({side} of its own pixels)" if side != crop_size else ""
        raise ValueError(
            f"crop_size {crop_size}{scaled} is larger than a field of {store.path}: "
            f"{smallest['path']} has {smallest['height']} x {smallest['width']} pixels; use a "
            "smaller crop_size"
        )


def _number(names: pl.Series) -> Int64[np.ndarray, " n"]:
    """Return one integer per name; equal names get equal integers."""
    return np.unique(names.to_numpy(), return_inverse=True)[1].astype(np.int64)


def _spread(fields: Int64[np.ndarray, " n"], max_fields: int) -> Int64[np.ndarray, " m"]:
    """Return up to `max_fields` of the fields, evenly spaced."""
    count = min(max_fields, len(fields))
    return fields[np.arange(count) * len(fields) // max(count, 1)]
