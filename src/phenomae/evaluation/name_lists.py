"""How alike the names of a list are on a map, beside random lists of as many names.

The mean cosine of a list is exact without its pairs: with s the sum of n profiles of length 1, it
is (|s|^2 - n) / (n (n - 1)), because |s|^2 is the sum over all pairs, n of them with themselves.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int

from phenomae.maps.cosine_order import EQUAL_DIGITS, order_by_cosine
from phenomae.maps.p_values import p_values

Unit = Float64[np.ndarray, "g d"]
"""Profiles of length 1."""
Rows = Int[np.ndarray, " n"]


@dataclass(frozen=True)
class ListCohesion:
    """The mean cosine over all pairs of a list of names, and those of random lists."""

    mean_cosine: float
    random: Float64[np.ndarray, " draws"]
    """Mean cosines of random lists of the same map, each of as many names."""

    @property
    def p(self) -> float:
        """Share of the random lists that are at least as alike, 1 added to both counts."""
        return float(p_values(np.array([self.mean_cosine]), self.random)[0])


def compare_with_random_lists(
    unit: Unit, rows: Rows, *, draws: int = 1000, seed: int = 0
) -> ListCohesion:
    """Return how alike the rows of a list are, and random lists of as many rows.

    Parameters
    ----------
    unit
        The profiles of the map, of length 1 (`unit_vectors.unit_map`).
    rows
        Two or more different rows of the map.
    draws
        Number of random lists, drawn from all rows of the map without replacement.
    seed
        Seed of these draws.

    Raises
    ------
    ValueError
        If there are fewer than two rows, or one of them twice.
    """
    if len(rows) < 2:
        raise ValueError(f"a list needs 2 names or more to be compared, and it has {len(rows)}")
    if len(np.unique(rows)) < len(rows):
        raise ValueError("a list has one of its names more than once: expected different names")
    random = np.empty(draws)
    for draw in range(draws):
        drawn = np.random.default_rng([seed, draw]).choice(
            len(unit), size=len(rows), replace=False, shuffle=False
        )
        random[draw] = mean_cosine(unit[drawn])
    return ListCohesion(mean_cosine(unit[rows]), random)


def mean_cosine(unit: Unit) -> float:
    """Return the mean cosine over all pairs of two or more profiles of length 1."""
    count, total = len(unit), unit.sum(axis=0)
    return float((total @ total - count) / (count * (count - 1)))


def nearest_to_list(
    unit: Unit, rows: Rows, k: int
) -> tuple[Int[np.ndarray, " k"], Float64[np.ndarray, " k"]]:
    """Return up to `k` rows outside a list that are nearest to its mean profile, and their cosines.

    The highest cosine comes first, and equal ones are in the order of the map. Both are empty if
    the profiles of the list cancel out, since their mean has no direction then.
    """
    mean = unit[rows].mean(axis=0)
    length = np.sqrt(mean @ mean)
    if length < 10.0**-EQUAL_DIGITS:
        return np.empty(0, dtype=np.int64), np.empty(0)
    others = np.setdiff1d(np.arange(len(unit)), rows)
    cosines = unit[others] @ (mean / length)
    order = order_by_cosine(cosines)[:k]
    return others[order], cosines[order]
