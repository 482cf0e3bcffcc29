"""Ranks of some pairs of a map among all its pairs, and the highest of all others, tile by tile.

Both are exact, from one pass over all cosines, which are never all in memory.
"""

from dataclasses import dataclass, field
from threading import Lock

import numpy as np
from jaxtyping import Bool, Float64, Int

from phenomae.evaluation.recall.cosines import Pairs, Unit, each_once, pair_cosines
from phenomae.evaluation.recall.sorted_values import SortedValues
from phenomae.evaluation.recall.tiles import Strip, Tile, each_strip
from phenomae.maps.cosine_order import EQUAL_DIGITS, order_by_cosine


@dataclass(frozen=True)
class PairRanks:
    """Cosines of some pairs with their ranks among all pairs, and the highest other pairs."""

    cosines: Float64[np.ndarray, " pairs"]
    """Bit for bit as in `cosines.scan`."""
    smaller: Int[np.ndarray, " pairs"]
    """Number of pairs of the map with a smaller cosine than each pair."""
    at_most: Int[np.ndarray, " pairs"]
    """Number of pairs of the map with at most the cosine of each pair, itself included."""
    others: Pairs
    """The highest pairs that are none of those asked for, the highest first, and of equal cosines
    in the order of the map. The first row of a pair is the smaller."""
    other_cosines: Float64[np.ndarray, " others"]


def rank_pairs(
    unit: Unit, pairs: Pairs, others: int, allowed: Bool[np.ndarray, " g"] | None = None
) -> PairRanks:
    """Return the ranks of different `pairs`, and the `others` highest other pairs.

    `unit` has profiles of length 1. Both rows of an other pair are `allowed`; None allows all.
    There are fewer than `others` if the map has no more.
    """
    cosines = pair_cosines(unit, pairs)
    values, places = np.unique(cosines, return_inverse=True)
    ranks, top = _Ranks(values), _Top.without(pairs, len(unit), others, allowed)

    def look(strip: Strip) -> None:
        for first, second, tile in strip:
            ranks.add(each_once(first == second, tile))
            top.add(first, second, tile)

    for _ in each_strip(unit, look, "ranks of pairs"):
        pass
    smaller, at_most = ranks.count()
    rows, columns = np.divmod(top.codes, len(unit))
    highest = np.column_stack([rows, columns])
    return PairRanks(cosines, smaller[places], at_most[places], highest, top.values)


class _Ranks:
    """Counts how many of all cosines are smaller than each of some sorted values, or equal."""

    def __init__(self, values: Float64[np.ndarray, " m"]) -> None:
        self._sorted = SortedValues(values)
        # Cosines by the number of values that are smaller, and those that equal a value.
        self._after = np.zeros(len(values) + 1, dtype=np.int64)
        self._equal = np.zeros(len(values), dtype=np.int64)
        self._lock = Lock()  # strips are in several threads, and sums of integers have no order

    def add(self, cosines: Float64[np.ndarray, " some"]) -> None:
        """Count some of the cosines."""
        if not len(self._equal):
            return
        after = self._sorted.count_smaller(cosines)
        equal = after[self._sorted.values[after] == cosines]
        with self._lock:
            np.add.at(self._after, after, 1)
            np.add.at(self._equal, equal, 1)

    def count(self) -> tuple[Int[np.ndarray, " m"], Int[np.ndarray, " m"]]:
        """Return for each value how many cosines are smaller, and how many are at most as high."""
        # A cosine after k smaller values is smaller than value k, unless it equals that.
        at_most = np.cumsum(self._after[:-1])
        return at_most - self._equal, at_most


@dataclass
class _Top:
    """The highest pairs so far; pairs are written as first row x number of rows + second row."""

    known: Int[np.ndarray, " pairs"]
    """Pairs that are left out, sorted."""
    rows: int
    max_pairs: int
    allowed: Bool[np.ndarray, " g"] | None
    values: Float64[np.ndarray, " n"] = field(default_factory=lambda: np.empty(0))
    codes: Int[np.ndarray, " n"] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    _lock: Lock = field(default_factory=Lock)

    @classmethod
    def without(
        cls, pairs: Pairs, rows: int, max_pairs: int, allowed: Bool[np.ndarray, " g"] | None
    ) -> "_Top":
        """Return a collection of the `max_pairs` highest pairs that are none of `pairs`."""
        return cls(np.sort(pairs.min(axis=1) * rows + pairs.max(axis=1)), rows, max_pairs, allowed)

    def add(self, first: int, second: int, tile: Tile) -> None:
        """Look at the pairs of a tile."""
        if not self.max_pairs:
            return
        # Read without the lock: a bound of a moment ago is lower, and only lets more through.
        found = np.flatnonzero(tile >= self._bound())
        down, across = np.divmod(found, tile.shape[1])
        row, column, value = first + down, second + across, tile.ravel()[found]
        # On the diagonal each pair is there twice, and each row with itself.
        used = row < column
        if self.allowed is not None:
            used &= self.allowed[row] & self.allowed[column]
        codes = row * self.rows + column
        used &= ~self._is_known(codes)
        with self._lock:
            values = np.concatenate([self.values, value[used]])
            codes = np.concatenate([self.codes, codes[used]])
            best = order_by_cosine(values, codes)[: self.max_pairs]
            self.values, self.codes = values[best], codes[best]

    def _bound(self) -> float:
        values = self.values
        return -np.inf if len(values) < self.max_pairs else float(values[-1]) - 10.0**-EQUAL_DIGITS

    def _is_known(self, codes: Int[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
        if not len(self.known):
            return np.zeros(len(codes), dtype=bool)
        places = np.searchsorted(self.known, codes)
        return self.known[np.minimum(places, len(self.known) - 1)] == codes
