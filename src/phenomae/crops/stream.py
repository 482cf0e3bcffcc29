"""The training stream: crops of step k are the same however often the run was stopped."""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64, Int64

from phenomae.crops.draws import Purpose, draw
from phenomae.crops.prefetch import prefetch
from phenomae.crops.source import Source
from phenomae.crops.tensors import Crops


@dataclass
class CropStream:
    """Random crops of random fields, a pure function of (seed, step, index)."""

    source: Source
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
    waited_s: float = field(default=0.0, init=False)
    """How long `steps` has kept its caller waiting, all in all."""

    def step(self, step: int) -> Crops:
        """Return the crops of a step."""
        numbers = draw(self.seed, step, Purpose.PLACE, range(self.crops_per_step), 4)
        chosen = self._choose_fields(step, numbers[:, 0])
        heights, widths = self.source.sizes[chosen].T
        tops = (numbers[:, 1] * (heights - self.crop_size + 1)).astype(np.int64)
        lefts = (numbers[:, 2] * (widths - self.crop_size + 1)).astype(np.int64)
        turns = (numbers[:, 3] * 8).astype(np.uint8)
        crops = self.source.crops(chosen, tops, lefts, self.crop_size, turns)
        return crops.pinned() if self.pin else crops

    def steps(self, first: int, end: int) -> Iterator[tuple[int, Crops]]:
        """Yield (step, crops) for the steps from `first` up to `end`, made in the background."""
        with closing(prefetch(self.step, range(first, end))) as made:
            for step in range(first, end):
                begun = time.perf_counter()
                crops = next(made)
                self.waited_s += time.perf_counter() - begun
                yield step, crops

    def _choose_fields(
        self, step: int, numbers: Float64[np.ndarray, " b"]
    ) -> Int64[np.ndarray, " b"]:
        parts = np.split(numbers, self.groups_per_step)
        groups = [self.groups[group] for group in self._choose_groups(step)]
        return np.concatenate(
            [
                group[(part * len(group)).astype(np.int64)]
                for group, part in zip(groups, parts, strict=True)
            ]
        )

    def _choose_groups(self, step: int) -> list[int]:
        """Draw a step's groups one after the other, each by its fields among those left."""
        drawn = draw(self.seed, step, Purpose.GROUP, range(self.groups_per_step), 1)[:, 0]
        sizes = np.array([len(group) for group in self.groups])
        chosen: list[int] = []
        for number in drawn:
            group = int(np.searchsorted(np.cumsum(sizes), number * sizes.sum(), side="right"))
            chosen.append(group)
            sizes[group] = 0
        return chosen


def centre_crops(source: Source, fields: Int64[np.ndarray, " b"], crop_size: int) -> Crops:
    """Return the middle of each field, unturned: what validation and pictures look at."""
    tops, lefts = ((source.sizes[fields] - crop_size) // 2).T
    return source.crops(fields, tops, lefts, crop_size)
