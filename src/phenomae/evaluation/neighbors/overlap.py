"""How much two maps of the same names agree: the overlap of the nearest names of each name."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float64

from phenomae.maps.nearest import Unit, compare_all

# Of equal cosines the order is drawn for each map: in the order of the rows, which both have, maps
# without a common signal would agree on all rows that are equally near.
_SEEDS = (0, 1)


@dataclass(frozen=True)
class NeighborOverlap:
    """The overlap of the `k` nearest names of each name on two maps."""

    jaccard: Float64[np.ndarray, " g"]
    """Of each name: the number of names in both lists over that in either of them."""
    k: int

    @property
    def mean(self) -> float:
        return float(self.jaccard.mean())

    @cached_property
    def chance(self) -> float:
        """Expected overlap of two random lists of `k` of the other names.

        The number i of names in both is hypergeometric, with the mean k^2 / (g - 1), and the
        overlap is i / (2 k - i).
        """
        from scipy.stats import hypergeom  # imported here: .6 s would delay --help

        both = np.arange(self.k + 1)
        chances = hypergeom.pmf(both, len(self.jaccard) - 1, self.k, self.k)
        return float(chances @ (both / (2 * self.k - both)))


def compare_neighbors(unit: Unit, other: Unit, k: int = 10) -> NeighborOverlap:
    """Return the overlap of the `k` nearest rows (Jaccard index) of each row on two maps.

    Rows with equal cosines are in a random order, another one on each map, so that ties agree as
    often as chance has it. Maps with ties therefore agree with themselves less than wholly.

    Parameters
    ----------
    unit, other
        Profiles of length 1 of the same names in the same order, of any two numbers of features.
    k
        Number of the nearest rows, less if the maps have fewer others.

    Raises
    ------
    ValueError
        If the numbers of rows differ, or there are fewer than 3.
    """
    if len(unit) != len(other):
        raise ValueError(f"expected maps of the same rows, not of {len(unit)} and {len(other)}")
    if len(unit) < 3:
        raise ValueError(f"neighbors need 3 rows or more, and there are {len(unit)}")
    k = min(k, len(unit) - 1)
    [(first, _)], [(second, _)] = (
        compare_all(each, k, (1.0,), seed) for each, seed in zip((unit, other), _SEEDS, strict=True)
    )
    # Each list has every row once at most, so that a row of both is there twice when sorted.
    listed = np.sort(np.concatenate([first, second], axis=1), axis=1)
    both = (listed[:, 1:] == listed[:, :-1]).sum(axis=1)
    return NeighborOverlap(both / (2 * k - both), k)
