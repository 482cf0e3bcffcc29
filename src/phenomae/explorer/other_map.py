"""Another map beside the one that is shown: compared on the names that both have."""

import threading
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Float64, Int

from phenomae.evaluation.neighbors.overlap import NeighborOverlap, compare_neighbors
from phenomae.maps.cosine_order import order_by_cosine
from phenomae.maps.read import ConsensusProfiles
from phenomae.maps.unit_vectors import unit_map
from phenomae.progress import count_of

_MIN_NAMES = 3


@dataclass(frozen=True)
class SharedNames:
    """The names that two maps share, with the profiles of both."""

    path: Path
    """Of the other map."""
    names: list[str]
    """In the order of the map that is shown."""
    unit: Float64[np.ndarray, "g d"]
    """Profiles of length 1 of the map that is shown."""
    other: Float64[np.ndarray, "g e"]
    """And of the other map."""
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    """Held while the overlap is computed."""

    @classmethod
    def of(
        cls,
        names: list[str],
        unit: Float64[np.ndarray, "h d"],
        path: Path,
        profiles: ConsensusProfiles,
    ) -> "SharedNames":
        """Compare the map of these names and profiles with another one.

        Raises ValueError if the other map cannot be compared, or shares fewer than 3 names.
        """
        other = unit_map(profiles, path)
        row_of = {name: row for row, name in enumerate(profiles.names)}
        pairs = [(row, row_of[name]) for row, name in enumerate(names) if name in row_of]
        if len(pairs) < _MIN_NAMES:
            raise ValueError(
                f"{path} has {count_of(len(pairs), 'name')} of the map: expected {_MIN_NAMES} or "
                "more, to compare neighbors among them"
            )
        own, others = np.array(pairs).T
        return cls(path, [names[row] for row in own], unit[own], other[others])

    @property
    def overlap(self) -> NeighborOverlap:
        """The overlap of the 10 nearest of all names, which takes seconds; computed once."""
        with self._lock:
            return self._overlap

    @cached_property
    def _overlap(self) -> NeighborOverlap:
        return compare_neighbors(self.unit, self.other, 10)

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.names)}

    def find(self, name: str) -> int | None:
        """Return the number of a name among the shared ones; None if it is not on both maps."""
        return self._row_of.get(name)

    def nearest(self, row: int, k: int) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return the `k` nearest of a shared name on this map, and on the other.

        Columns: rank, neighbor, cosine, other_rank (its rank on the other of the two maps) and
        both: whether it is among the `k` nearest on both.
        """
        # Ties in another order on each map: in one order, maps of equal rows would agree.
        here, there = _rank(self.unit, row, seed=0), _rank(self.other, row, seed=1)
        return self._table(here, there, k), self._table(there, here, k)

    def _table(self, ranked: "_Ranked", other: "_Ranked", k: int) -> pl.DataFrame:
        shown = ranked.order[:k]
        other_rank = other.rank[shown]
        return pl.DataFrame(
            {
                "rank": np.arange(1, len(shown) + 1),
                "neighbor": pl.Series([self.names[row] for row in shown], dtype=pl.String),
                "cosine": ranked.cosines[shown],
                "other_rank": other_rank,
                "both": other_rank <= k,
            }
        )


@dataclass(frozen=True)
class _Ranked:
    """All other rows of a map, by their cosine to one."""

    cosines: Float64[np.ndarray, " g"]
    order: Int[np.ndarray, " others"]
    rank: Int[np.ndarray, " g"]
    """From 1; 0 for the row itself."""


def _rank(unit: Float64[np.ndarray, "g d"], row: int, seed: int) -> _Ranked:
    cosines = unit @ unit[row]
    order = order_by_cosine(cosines, np.random.default_rng(seed).permutation(len(unit)))
    order = order[order != row]
    rank = np.zeros(len(unit), dtype=np.int64)
    rank[order] = np.arange(1, len(order) + 1)
    return _Ranked(cosines, order, rank)
