"""Chooses the fields of a step in pairs of wells with the same label, for the pair objective.

The crops of a step are ordered by pair: `crops_per_well` crops of the pair's first well, then as
many of its second well, which is of another batch if the label has wells in several.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from phenomae.crops.random_numbers import Purpose, draw

Wells = Sequence[Int64[np.ndarray, " _n"]]
"""The numbers of the fields of each of several wells."""


@dataclass(frozen=True)
class PairSampler:
    """Pairs of wells of different groups, such as batches, as a pure function of (seed, step)."""

    labels: Sequence[Sequence[Wells]]
    """For each label, its two or more groups of wells, in the order of `group_of`."""
    crops_per_well: int
    group_of: Int64[np.ndarray, " f"]
    """Number of the group of every field; -1 for fields that are in no pair."""

    def choose(
        self, seed: int, step: int, numbers: Float64[np.ndarray, " b"]
    ) -> Int64[np.ndarray, " b"]:
        """Return the field of each crop of a step; every label has at most one pair in a step.

        `numbers` are uniform in [0, 1), one per crop, and choose the fields within the wells. Their
        count is a multiple of two wells' crops.
        """
        pairs = len(numbers) // (2 * self.crops_per_well)
        # The first of a random order: labels are drawn without replacement.
        order = draw(seed, step, Purpose.LABEL, range(len(self.labels)), 1)[:, 0].argsort()
        drawn = draw(seed, step, Purpose.PAIR, range(pairs), 4)
        wells = [
            well
            for label, random in zip(order[:pairs].tolist(), drawn, strict=True)
            for well in _two_wells(self.labels[label], random)
        ]
        parts = np.split(numbers, 2 * pairs)
        return np.concatenate(
            [well[(part * len(well)).astype(int)] for well, part in zip(wells, parts, strict=True)]
        )


def _two_wells(
    groups: Sequence[Wells], random: Float64[np.ndarray, " 4"]
) -> list[Int64[np.ndarray, " _n"]]:
    """Return the fields of one well of each of two different groups."""
    one = int(random[0] * len(groups))
    # One of the others: the numbers of the groups after the first are moved down by one.
    other = int(random[1] * (len(groups) - 1))
    # In the order of the groups, so that with two batches all first wells are of the same.
    chosen = [groups[number] for number in sorted((one, other + (other >= one)))]
    return [
        wells[int(number * len(wells))] for wells, number in zip(chosen, random[2:], strict=True)
    ]
