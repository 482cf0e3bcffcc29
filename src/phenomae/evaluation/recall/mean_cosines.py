"""Mean cosine of every two genes over the pairs of their wells in each tier, tile by tile.

All tiers share the products of the genes' sums, so that a further tier costs only what it leaves
out. Numbers are float32, which takes half the time of float64; profiles have no more digits.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float, Float32, Int

from phenomae.evaluation.recall import tiles
from phenomae.evaluation.recall.strata import PairsOfWells, Strata
from phenomae.evaluation.recall.tiers import TierName
from phenomae.evaluation.recall.well_groups import WellGroups
from phenomae.evaluation.recall.well_sums import GroupSums, Panel, multiply

# Tiles on the side of a panel. Products per group take half the time in panels of 4 x 4 instead of
# 1 x 8 tiles (docs/log.md, 2026-11-28); three panels of a core are 50 MB.
_TILES = 4
Found = TypeVar("Found")


class PairTile(NamedTuple):
    """The pairs of genes of a tile in one tier, each pair once."""

    tier: TierName
    first: int
    """Row of the map that the tile starts at."""
    second: int
    """Column of the map that the tile starts at."""
    means: Float32[np.ndarray, "rows columns"]
    """Rounding makes the mean cosine of equal profiles larger than 1."""
    strata: Int[np.ndarray, "rows columns"] | None
    """Stratum of each pair, and the number of strata for pairs without a value and those below the
    diagonal. None if all are in stratum 0."""


@dataclass(frozen=True)
class TierPairs:
    """What a tier leaves out."""

    groups: WellGroups
    strata: Strata
    sums: GroupSums | None
    """The sums within groups; None if the tier leaves out nothing."""

    def find(self, pairs: Int[np.ndarray, "pairs 2"]) -> Int[np.ndarray, " pairs"]:
        """Return the stratum of pairs of genes; the number of strata for those left out."""
        return self.strata.find(self.groups, pairs)


@dataclass(frozen=True)
class MeanCosines:
    """The mean cosines of every two genes over the pairs of their wells, in several tiers."""

    totals: Float32[np.ndarray, "g d"]
    """Sum of the profiles of each gene's wells, which have length 1."""
    wells: Int[np.ndarray, " g"]
    """Number of wells of each gene."""
    tiers: dict[TierName, TierPairs]

    def __len__(self) -> int:
        return len(self.totals)

    def run(self, work: Callable[[Iterator[PairTile]], Found], label: str) -> Iterator[Found]:
        """Run `work` on the tiles of every panel, on all cores, and yield its results."""
        sizes = [_TILES**2 * len(self.tiers)] * len(self.panels)
        yield from tiles.run_pieces(self.panels, lambda panel: work(self.cut(*panel)), label, sizes)

    @property
    def panels(self) -> list[tuple[slice, slice]]:
        """The rows and columns of the panels on the diagonal and above it."""
        side = _TILES * tiles.SIDE
        ranges = [slice(at, min(at + side, len(self))) for at in range(0, len(self), side)]
        return [(rows, some) for place, rows in enumerate(ranges) for some in ranges[place:]]

    def cut(self, rows: slice, columns: slice) -> Iterator[PairTile]:
        """Yield the tiles of all tiers in a panel, one of `panels`."""
        total = multiply(self.totals, self.totals, rows, columns)
        for tier, pairs in self.tiers.items():
            sums, left_out = total, None
            if pairs.sums is not None:
                sums, left_out = pairs.sums.subtract(total, rows, columns)
            for first in range(rows.start, rows.stop, tiles.SIDE):
                across = slice(first - rows.start, first - rows.start + tiles.SIDE)
                for second in range(max(first, columns.start), columns.stop, tiles.SIDE):
                    here = (
                        across,
                        slice(second - columns.start, second - columns.start + tiles.SIDE),
                    )
                    out = None if left_out is None else left_out[here]
                    yield self._tile(tier, first, second, sums[here], out)

    def take(self, rows: Int[np.ndarray, " some"]) -> "MeanCosines":
        """Return the mean cosines of some genes, which ascend."""
        some: dict[TierName, TierPairs] = {
            tier: TierPairs(
                pairs.groups.take(rows)[0],
                pairs.strata,
                None if pairs.sums is None else pairs.sums.take(rows),
            )
            for tier, pairs in self.tiers.items()
        }
        return MeanCosines(self.totals[rows], self.wells[rows], some)

    def only(self, tier: TierName) -> "MeanCosines":
        """Return one tier."""
        return MeanCosines(self.totals, self.wells, {tier: self.tiers[tier]})

    def _tile(
        self, tier: TierName, first: int, second: int, sums: Panel, left_out: Panel | None
    ) -> PairTile:
        """Return a tile, given sums of cosines and the numbers of pairs of wells left out."""
        strata = self.tiers[tier].strata
        rows, columns = (
            slice(start, start + size)
            for start, size in zip((first, second), sums.shape, strict=True)
        )
        pairs, kinds, found = self._pairs(rows, columns), self._kinds(rows, columns), None
        if left_out is not None:
            found = strata.look_up(kinds, left_out)
            pairs = pairs - left_out
            # A gene with itself, on the diagonal, may have none either.
            if strata.without or first == second:
                none = pairs == 0
                found[none], pairs[none] = len(strata), 1
        elif len(strata) > 1:
            found = strata.look_up(kinds, np.zeros(sums.shape, dtype=np.intp))
        if first == second:
            found = np.zeros(sums.shape, dtype=np.intp) if found is None else found
            found[np.tril_indices(len(sums))] = len(strata)
        means = np.divide(sums, pairs, dtype=np.float32, casting="same_kind")
        return PairTile(tier, first, second, means, found)

    def _pairs(self, rows: slice, columns: slice) -> Float[np.ndarray, "rows columns"]:
        """Return the numbers of pairs of wells of two ranges of genes."""
        return np.multiply.outer(self._numbers[rows], self._numbers[columns])

    def _kinds(self, rows: slice, columns: slice) -> Int[np.ndarray, "rows columns"] | int:
        """Return the kind of number of pairs of wells, as `Strata.look_up` needs it."""
        if len(self._pairs_of_wells.numbers) == 1:
            return 0
        classes = self._classes
        return self._pairs_of_wells.find(classes[rows, None], classes[columns])

    @property
    def _pairs_of_wells(self) -> PairsOfWells:
        return next(iter(self.tiers.values())).strata.pairs_of_wells

    @cached_property
    def _classes(self) -> Int[np.ndarray, " g"]:
        """The class of each gene by its number of wells."""
        return self._pairs_of_wells.classify(self.wells)

    @cached_property
    def _numbers(self) -> Float[np.ndarray, " g"]:
        """The numbers of wells, in the type in which numbers of pairs are exact."""
        return self.wells.astype(next(iter(self.tiers.values())).groups.number_type)
