"""Runs a network over every crop of a plate and averages the embeddings of each well.

A batch always has the same crops in the same order, because the last bits of a matrix product can
depend on the other rows; so the same plate gives the same bytes.
"""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from phenomae.crops.prefetch import prefetch
from phenomae.crops.reader import CropReader
from phenomae.crops.tensors import Crops, network_input, turn
from phenomae.crops.tiles import Tiles
from phenomae.crops.turns import TURNS, Turns
from phenomae.devices import Machine
from phenomae.embedding.plates import Plate, mean_per_well
from phenomae.missing_features import find_non_finite
from phenomae.models.conv.adabn import kept_statistics, reestimate
from phenomae.models.network import Network, Pixels, Pool
from phenomae.progress import Advance

# Crops in one forward pass while a plate's statistics are estimated, at least. Each batch norm
# normalises such a part by the part's own statistics, which must be near those of the plate.
_MIN_PART = 32
# Crops in a forward pass of one CPU core, at most. With 16 a small network took .3 more time
# (docs/log.md, 2026-12-01).
_CORE_CROPS = 32


@dataclass(frozen=True)
class Embedder:
    """A network on its device, and the fields and crops that it embeds."""

    reader: CropReader
    tiles: Sequence[Tiles]
    """Positions of the crops of every field of the reader."""
    model: Network
    machine: Machine
    crops_at_once: int
    pool: Pool = "mean"
    turns: Turns = 1
    """Number of turns of each crop whose embeddings are averaged."""
    adabn_crops: int = 0
    """Maximum number of crops from which AdaBN estimates a plate's batch norm statistics; 0 uses
    the statistics of the training."""

    def count(self, plate: Plate) -> int:
        """Return the number of crops of a plate."""
        return sum(len(self.tiles[field].tops) for field in plate.fields)

    def embed(
        self, plate: Plate, blocks: Sequence[int | None], advance: Advance
    ) -> list[Float32[np.ndarray, "n _d"]]:
        """Return one row per well for each of `blocks`: the unweighted mean over the well's crops.

        Block None is the last block, with the layers after it.
        """
        found = self.embed_crops(plate, blocks, advance)
        return [self.average(plate, vectors) for vectors in found]

    def embed_crops(
        self, plate: Plate, blocks: Sequence[int | None], advance: Advance
    ) -> list[Float32[np.ndarray, "m _d"]]:
        """Return one row per crop for each of `blocks`, in the order of `list_crops`."""
        places = self.list_crops(plate)
        parts: list[list[Float32[Tensor, "b _d"]]] = [[] for _ in blocks]
        adapted = kept_statistics(self.model) if self.adabn_crops else nullcontext()
        with adapted:
            # Before any crop is embedded, so that all wells of a plate use the same statistics.
            if self.adabn_crops:
                with torch.inference_mode(), self.machine.fabric.autocast():
                    reestimate(self.model, self._read_spread(places))
            on_cpu = self.machine.device.type == "cpu"
            batches = (self._embed_on_cores if on_cpu else self._embed_in_turn)(places, blocks)
            for found in batches:
                for part, vectors in zip(parts, found, strict=True):
                    # Left on a GPU: the CPU would wait for this batch before it sends the next.
                    part.append(vectors)
                advance(len(found[0]))
        return [torch.cat(part).cpu().numpy() for part in parts]

    def average(
        self, plate: Plate, vectors: Float32[np.ndarray, "m d"]
    ) -> Float32[np.ndarray, "n d"]:
        """Return the mean of the vectors of each well's crops.

        Raises ValueError if a mean is NaN or infinite.
        """
        counts = [len(self.tiles[field].tops) for field in plate.fields]
        wells = np.repeat(plate.well_of, counts)
        rows = mean_per_well(vectors, wells, len(plate.table))
        _require_finite(rows, plate)
        return rows

    def list_crops(self, plate: Plate) -> Int64[np.ndarray, "m 3"]:
        """Return field, top and left of every crop of a plate, ordered by field."""
        return np.array(
            [
                (field, top, left)
                for field in plate.fields.tolist()
                for top, left in zip(self.tiles[field].tops, self.tiles[field].lefts, strict=True)
            ]
        )

    def _embed_in_turn(
        self, places: Int64[np.ndarray, "m 3"], blocks: Sequence[int | None]
    ) -> Iterator[Sequence[Float32[Tensor, "b _d"]]]:
        """Yield the embeddings of each batch; the next crops are read while the network runs."""
        for pixels in self._read(_split(places, self.crops_at_once), self.reader):
            # Not around `yield`, which would leave the caller in inference mode.
            with torch.inference_mode(), self.machine.fabric.autocast():
                found = self._vectors(pixels, blocks)
            yield found

    def _embed_on_cores(
        self, places: Int64[np.ndarray, "m 3"], blocks: Sequence[int | None]
    ) -> Iterator[Sequence[Float32[Tensor, "b _d"]]]:
        """Yield the embeddings of each batch; cores compute batches of their own.

        So no core waits at every operation for one that other processes use. `crops_at_once` limits
        the crops of all cores together.
        """
        size = min(self.crops_at_once, _CORE_CROPS)
        cores = torch.get_num_threads()
        count = min(cores, self.crops_at_once // size)

        def embed(pixels: Pixels) -> Sequence[Float32[Tensor, "b _d"]]:
            torch.set_num_threads(cores // count)  # of this thread
            torch.set_autocast_cache_enabled(False)  # it is shared by all threads
            with torch.inference_mode(), self.machine.fabric.autocast():
                return self._vectors(pixels, blocks)

        # One thread reads for all cores, in order, so that no field is read twice.
        batches = self._read(_split(places, size), self.reader)
        return prefetch(embed, batches, ahead=count, threads=count)

    def _vectors(
        self, pixels: Pixels, blocks: Sequence[int | None]
    ) -> Sequence[Float32[Tensor, "b _d"]]:
        """Return the embeddings of crops at each block, averaged over the turns of the crops."""
        turned = (turn(pixels, bits) for bits in TURNS[self.turns])
        found = (self._vectors_once(crops, blocks) for crops in turned)
        sums = [vectors.float() for vectors in next(found)]
        for more in found:
            for total, vectors in zip(sums, more, strict=True):
                total += vectors
        return [total / self.turns for total in sums]

    def _vectors_once(
        self, pixels: Pixels, blocks: Sequence[int | None]
    ) -> Sequence[Float[Tensor, "b _d"]]:
        numbers = [block for block in blocks if block is not None]
        if numbers:
            return self.model.encoder.embed_blocks(pixels, numbers, self.pool)
        return [self.model.encoder.embed(pixels, self.pool)]

    def _read_spread(self, places: Int64[np.ndarray, "m 3"]) -> Iterator[Pixels]:
        """Yield crops spread over a plate, in parts that are each spread over the plate."""
        count = min(self.adabn_crops, len(places))
        spread = places[np.arange(count) * len(places) // count]
        parts = -(-count // max(self.crops_at_once, _MIN_PART))
        # Read crop by crop: nearly every crop is from another field, and whole fields would fill
        # the memory.
        reader = self.reader.read_by("crops")
        # Every `parts`-th crop: consecutive crops would be from one region of the plate.
        return self._read((spread[part::parts] for part in range(parts)), reader)

    def _read(
        self, parts: Iterator[Int64[np.ndarray, "b 3"]], reader: CropReader
    ) -> Iterator[Pixels]:
        on_gpu = self.machine.device.type == "cuda"

        def cut(places: Int64[np.ndarray, "b 3"]) -> Crops:
            fields, tops, lefts = places.T
            crops = reader.crops(fields, tops, lefts, self.model.settings.crop_size)
            # From pinned memory the copy to the GPU does not wait for the previous batch.
            return crops.pinned() if on_gpu else crops

        for crops in prefetch(cut, parts):
            yield network_input(crops, self.machine.device)


def _split(places: Int64[np.ndarray, "m 3"], size: int) -> Iterator[Int64[np.ndarray, "b 3"]]:
    """Yield the positions of the crops of each forward pass."""
    for start in range(0, len(places), size):
        yield places[start : start + size]


def _require_finite(rows: Float32[np.ndarray, "n d"], plate: Plate) -> None:
    wrong = find_non_finite(rows)
    if wrong.any():
        first = plate.table.filter(wrong)["well"][0]
        raise ValueError(
            f"the network gives NaN or infinite features for {wrong.sum()} of {len(wrong)} wells "
            f"of plate {plate.name}, such as {first}: give weights of finite numbers, or "
            "precision float32"
        )
