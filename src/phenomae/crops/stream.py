"""The training stream: the crops of step k are the same in every run with the same seed.

The crops depend neither on interruptions of the run, nor on the number of processes, nor on how
pixels are read. Every process draws the random numbers of the whole step and uses its share.
"""

import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float64, Int64

from phenomae.crops.pairs import PairSampler
from phenomae.crops.prefetch import prefetch
from phenomae.crops.random_numbers import Purpose, draw
from phenomae.crops.reader import CropReader
from phenomae.crops.tensors import Crops


@dataclass
class CropStream:
    """Random crops of random fields, as a pure function of (seed, step, index of the crop)."""

    reader: CropReader
    groups: Sequence[Int64[np.ndarray, " _n"]]
    """The numbers of the fields in each group. All crops of a step come from `groups_per_step`
    groups. A group is drawn with probability proportional to the sum of its fields' weights, and a
    field of the group with probability proportional to the field's weight."""
    crop_size: int
    crops_per_step: int
    """Number of crops of a step over all processes: the global batch."""
    seed: int
    groups_per_step: int = 1
    """Number of groups in a step; each group gets an equal, consecutive part of the crops."""
    pin: bool = False
    """Whether to return crops in pinned memory."""
    weights: Float64[np.ndarray, " _f"] | None = None
    """Sampling weight of each of the reader's fields; None is equal weights."""
    crops_per_field: int = 1
    """Number of consecutive crops from each field that is drawn."""
    pairs: PairSampler | None = None
    """Chooses the fields in pairs of wells, instead of from `groups` by `weights`; None: it does
    not."""
    share: range | None = None
    """Indices, within the step, of the crops that this process returns; None returns all."""
    waited_s: float = field(default=0.0, init=False)
    """Seconds that the caller of `steps` has waited for crops, in total."""

    def __post_init__(self) -> None:
        weights = np.ones(len(self.reader.sizes)) if self.weights is None else self.weights
        self._ends = [np.cumsum(weights[group]) for group in self.groups]

    def step(self, step: int) -> Crops:
        """Return the crops of a step, or this process's share of them."""
        # Drawn for the whole step, because a share need not begin with the first crop of a field or
        # a group; compared with reading, random numbers cost next to nothing.
        # The four random numbers of a crop choose its field, top, left and augmentation.
        numbers = draw(self.seed, step, Purpose.PLACE, range(self.crops_per_step), 4)
        firsts = numbers[:: self.crops_per_field, 0]
        if self.pairs is not None:
            chosen = self.pairs.choose(self.seed, step, firsts)
        else:
            chosen = self._choose_fields(step, firsts).repeat(self.crops_per_field)
        share = range(self.crops_per_step) if self.share is None else self.share
        numbers, chosen = numbers[share.start : share.stop], chosen[share.start : share.stop]
        heights, widths = self.reader.sizes[chosen].T
        sides = self.reader.sides(self.crop_size)[self.reader.store_of[chosen]]
        # Random numbers are below 1, so that a top is at most height - side.
        tops = (numbers[:, 1] * (heights - sides + 1)).astype(np.int64)
        lefts = (numbers[:, 2] * (widths - sides + 1)).astype(np.int64)
        turns = (numbers[:, 3] * 8).astype(np.uint8)
        crops = self.reader.crops(chosen, tops, lefts, self.crop_size, turns)
        crops = replace(crops, first=share.start)
        return crops.pinned() if self.pin else crops

    def steps(
        self, first: int, end: int, without: Collection[int] = ()
    ) -> Iterator[tuple[int, Crops | None]]:
        """Yield (step, crops) for steps `first` to `end` - 1, read ahead in a background thread.

        For steps in `without` no crops are read, and None is yielded in their place.
        """
        read = (step for step in range(first, end) if step not in without)
        # Closed explicitly, so that the reading thread ends with this generator, and not when the
        # garbage collector finds it.
        with closing(prefetch(self.step, read)) as prefetched:
            for step in range(first, end):
                begun = time.perf_counter()
                crops = None if step in without else next(prefetched)
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
        """Return a step's groups, drawn without replacement in proportion to their weights."""
        drawn = draw(self.seed, step, Purpose.GROUP, range(self.groups_per_step), 1)
        weights = np.array([ends[-1] for ends in self._ends])  # the sum over a group's fields
        chosen: list[int] = []
        for number in drawn:
            chosen.append(int(_choose(np.cumsum(weights), number)[0]))
            weights[chosen[-1]] = 0
        return chosen


def _choose(
    ends: Float64[np.ndarray, " n"], numbers: Float64[np.ndarray, " b"]
) -> Int64[np.ndarray, " b"]:
    """Return one index per number, drawn in proportion to weights (inverse transform sampling).

    `ends` is the cumulative sum of the weights, and `numbers` are uniform in [0, 1).
    """
    return np.searchsorted(ends, numbers * ends[-1], side="right")


def centre_crops(reader: CropReader, fields: Int64[np.ndarray, " b"], crop_size: int) -> Crops:
    """Return the centre crop of each field without augmentation."""
    sides = reader.sides(crop_size)[reader.store_of[fields]]
    tops, lefts = ((reader.sizes[fields] - sides[:, None]) // 2).T
    return reader.crops(fields, tops, lefts, crop_size)
