"""Runs a network over every crop of a plate and averages what it says of each well."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int64

from phenomae.crops.prefetch import prefetch
from phenomae.crops.source import Source
from phenomae.crops.tensors import Crops, network_input
from phenomae.crops.tiles import Tiles
from phenomae.embed.plates import Plate, mean_per_well
from phenomae.models.machine import Machine
from phenomae.models.network import Network
from phenomae.progress import Tracker


@dataclass(frozen=True)
class Embedder:
    """A network on its machine, and how the fields of a store are cut for it."""

    source: Source
    tiles: Sequence[Tiles]
    """Where the crops of every field of the store lie."""
    model: Network
    machine: Machine
    crops_at_once: int

    def count(self, plate: Plate) -> int:
        """Return how many crops a plate has."""
        return sum(len(self.tiles[field].tops) for field in plate.fields)

    def embed(self, plate: Plate, advance: Tracker) -> Float32[np.ndarray, "n d"]:
        """Return a vector a well of the plate: the mean over its crops, all alike.

        Crops go through the network in the same company each time, so that the same plate gives
        the same bytes.
        """
        vectors = []
        with torch.inference_mode(), self.machine.fabric.autocast():
            for crops in prefetch(self._read, self._parts(plate)):
                pixels = network_input(crops, self.machine.device)
                vectors.append(self.model.embed(pixels).float().cpu().numpy())
                advance(len(crops))
        counts = [len(self.tiles[field].tops) for field in plate.fields]
        wells = np.repeat(plate.well_of, counts)
        return mean_per_well(np.concatenate(vectors), wells, len(plate.table))

    def _parts(self, plate: Plate) -> Iterator[Int64[np.ndarray, "b 3"]]:
        """Yield field, top and left of the crops the network takes together."""
        places = np.array(
            [
                (field, top, left)
                for field in plate.fields.tolist()
                for top, left in zip(self.tiles[field].tops, self.tiles[field].lefts, strict=True)
            ]
        )
        for start in range(0, len(places), self.crops_at_once):
            yield places[start : start + self.crops_at_once]

    def _read(self, places: Int64[np.ndarray, "b 3"]) -> Crops:
        fields, tops, lefts = places.T
        return self.source.crops(fields, tops, lefts, self.model.settings.crop_size)
