"""The training stream: crops of step k are the same however often the run was stopped."""

import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float64, Int64

from phenomae.crops.prefetch import prefetch
from phenomae.crops.random_numbers import Purpose, draw
from phenomae.crops.reader import CropReader
from phenomae.crops.tensors import Crops


@dataclass
class CropStream:
    """Random crops of random fields, a pure function of (seed, step, index)."""

    reader: CropReader
    groups: Sequence[Int64[np.ndarray, " _n"]]
    """Rows of fields to draw from. A step takes fields of one group, drawn as often as it has
    fields, or of a few different ones; within it every field comes as often as the others."""
    crop_size: int
    crops_per_step: int
    seed: int
    groups_per_step: int = 1
    """How many groups share a step evenly, one after the other."""
    pin: bool = False
    """Whether to keep crops where a GPU can fetch them by itself."""
    weights: Float64[np.ndarray, " _f"] | None = None
    """How often each of the reader's fields is drawn, beside the others; None: all alike. A group
    is drawn by the sum over its fields."""
    crops_per_field: int = 1
    """How many crops, one after the other, are cut from each field that is drawn."""
    share: range | None = None
    """Which of a step's crops to give, where processes share it; None: all."""
    waited_s: float = field(default=0.0, init=False)
    """How long `steps` has kept its caller waiting, all in all."""

    def __post_init__(self) -> None:
        weights = np.ones(len(self.reader.sizes)) if self.weights is None else self.weights
        self._ends = [np.cumsum(weights[group]) for group in self.groups]

    def step(self, step: int) -> Crops:
        """Return the crops of a step, or this stream's share of them."""
        numbers = draw(self.seed, step, Purpose.PLACE, range(self.crops_per_step), 4)
        firsts = numbers[:: self.crops_per_field, 0]
        chosen = self._choose_fields(step, firsts).repeat(self.crops_per_field)
        share = range(self.crops_per_step) if self.share is None else self.share
        numbers, chosen = numbers[share.start : share.stop], chosen[share.start : share.stop]
        heights, widths = self.reader.sizes[chosen].T
        sides = self.reader.sides(self.crop_size)[self.reader.store_of[chosen]]
        tops = (numbers[:, 1] * (heights - sides + 1)).astype(np.int64)
        lefts = (numbers[:, 2] * (widths - sides + 1)).astype(np.int64)
        turns = (numbers[:, 3] * 8).astype(np.uint8)
        crops = self.reader.crops(chosen, tops, lefts, self.crop_size, turns)
        crops = replace(crops, first=share.start)
        return crops.pinned() if self.pin else crops

    def steps(
        self, first: int, end: int, without: Collection[int] = ()
    ) -> Iterator[tuple[int, Crops | None]]:
        """Yield (step, crops) for the steps from `first` up to `end`, made in the background.

        Steps of `without` are passed over: None stands for their crops.
        """
        wanted = (step for step in range(first, end) if step not in without)
        with closing(prefetch(self.step, wanted)) as made:
            for step in range(first, end):
                begun = time.perf_counter()
                crops = None if step in without else next(made)
                self.waited_s += time.perf_counter() - begun
                yield step, crops

    def _choose_fields(
        self, step: int, numbers: Float64[np.ndarray, " b"]
    ) -> Int64[np.ndarray, " b"]:
        groups, parts = self._choose_groups(step), np.split(numbers, self.groups_per_step)
        return np.concatenate(
            [
                self.groups[group][_choose(self._ends[group], part)]
                for group, part in zip(groups, parts, strict=True)
            ]
        )

    def _choose_groups(self, step: int) -> list[int]:
        """Draw a step's groups one after the other, each by its weight among those left."""
        drawn = draw(self.seed, step, Purpose.GROUP, range(self.groups_per_step), 1)
        weights = np.array([ends[-1] for ends in self._ends])
        chosen: list[int] = []
        for number in drawn:
            chosen.append(int(_choose(np.cumsum(weights), number)[0]))
            weights[chosen[-1]] = 0
        return chosen


def _choose(
    ends: Float64[np.ndarray, " n"], numbers: Float64[np.ndarray, " b"]
) -> Int64[np.ndarray, " b"]:
    """Return in which of the stretches that end there numbers of [0, 1) fall."""
    return np.searchsorted(ends, numbers * ends[-1], side="right")


def centre_crops(reader: CropReader, fields: Int64[np.ndarray, " b"], crop_size: int) -> Crops:
    """Return the middle of each field, unturned: what validation and pictures look at."""
    sides = reader.sides(crop_size)[reader.store_of[fields]]
    tops, lefts = ((reader.sizes[fields] - sides[:, None]) // 2).T
    return reader.crops(fields, tops, lefts, crop_size)
