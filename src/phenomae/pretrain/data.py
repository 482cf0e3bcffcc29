"""What a run trains on, what it is measured on, and what it is pictured with."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from phenomae.crops.source import Source, choose_reading
from phenomae.crops.stream import CropStream, centre_crops
from phenomae.crops.tensors import Crops
from phenomae.pretrain.held_out import split_fields
from phenomae.pretrain.settings import TrainingSettings
from phenomae.store.read import Store

_PICTURED = 3
_MEASURED_AT_ONCE = 64


@dataclass(frozen=True)
class Data:
    """A store's fields, split by wells."""

    source: Source
    training: Int64[np.ndarray, " n"]
    held_out: Int64[np.ndarray, " m"]
    crop_size: int

    def stream(self, settings: TrainingSettings, pin: bool) -> CropStream:
        """Return the crops of every step."""
        return CropStream(
            self.source, self.training, self.crop_size, settings.crops_per_step, settings.seed, pin
        )

    def validation(self, most: int) -> list[Crops]:
        """Return up to `most` crops of held-out wells, a few dozen at a time."""
        chosen = _spread(self.held_out, most)
        parts = [
            chosen[start : start + _MEASURED_AT_ONCE]
            for start in range(0, len(chosen), _MEASURED_AT_ONCE)
        ]
        return [centre_crops(self.source, part, self.crop_size) for part in parts]

    def pictured(self) -> Crops:
        """Return a few crops of held-out wells, or of others where none is held out."""
        fields = self.held_out if len(self.held_out) else self.training
        return centre_crops(self.source, _spread(fields, _PICTURED), self.crop_size)


def open_data(screen: Store, crop_size: int, settings: TrainingSettings) -> Data:
    """Split a store's wells into those to train on and those held out.

    Raises ValueError where there is no field, or where a field is smaller than a crop.
    """
    if screen.fields.is_empty():
        raise ValueError(f"{screen.path} holds no field to train on: ingest plates with images")
    source = Source(screen, choose_reading(screen, settings.cache_gb))
    sides = source.sizes.min(axis=1)
    if sides.min() < crop_size:
        smallest = screen.fields.row(int(sides.argmin()), named=True)
        raise ValueError(
            f"crop_size {crop_size} is larger than a field of {screen.path}: {smallest['path']} "
            f"has {smallest['height']} x {smallest['width']} pixels; take a smaller crop_size"
        )
    training, held_out = split_fields(screen.fields, settings.validation, settings.seed)
    return Data(source, training, held_out, crop_size)


def _spread(fields: Int64[np.ndarray, " n"], most: int) -> Int64[np.ndarray, " m"]:
    """Return up to `most` of the fields, evenly over all of them."""
    count = min(most, len(fields))
    return fields[np.arange(count) * len(fields) // max(count, 1)]
