"""Mean cosine of two genes over those pairs of their wells that are on another plate, for example.

Wells that share a plate, a batch or a position look alike for technical reasons, so that genes
whose wells share them look related. The mean leaves such pairs of wells out. With profiles of
length 1, the sum of cosines over all pairs of wells of two genes is the inner product of the genes'
sums, and that over their pairs of wells within a group is the inner product of their sums in this
group. Subtracting the latter is exact, and no pair of wells is visited.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Float32, Float64, Int
from scipy import sparse

from phenomae.evaluation.recall import tiles
from phenomae.evaluation.recall.one_pass import Cosines
from phenomae.evaluation.recall.tiles import NO_VALUE, Strip

TIERS = {"any": None, "other-plate": "plate", "other-batch": "batch", "other-position": "well"}
"""The tiers, and the column of the wells that two wells of a pair may not share."""
_TILES = 4  # tiles in a panel: fewer, longer products per group, 16 MB of numbers per core
Part = tuple[Int[np.ndarray, " m"], Float64[np.ndarray, "m d"]]
"""Some wells: their numbers among all wells, and their profiles of length 1."""


@dataclass(frozen=True)
class GroupSums:
    """Sums of the profiles of each gene's wells in each group, sorted by group, then by gene."""

    groups: Int[np.ndarray, " k"]
    genes: Int[np.ndarray, " k"]
    counts: Int[np.ndarray, " k"]
    """Number of wells of the gene in the group."""
    sums: Float32[np.ndarray, "k d"]

    def count_pairs(self, pairs: Int[np.ndarray, "pairs 2"]) -> Int[np.ndarray, " pairs"]:
        """Return the number of pairs of wells in different groups, for pairs of genes."""
        shape = (int(self.genes.max()) + 1, int(self.groups.max()) + 1)
        counts = sparse.csr_array((self.counts, (self.genes, self.groups)), shape=shape)
        wells = counts.sum(axis=1)
        shared = counts[pairs[:, 0]].multiply(counts[pairs[:, 1]]).sum(axis=1)
        return wells[pairs].prod(axis=1) - shared


@dataclass(frozen=True)
class OtherGroups:
    """The mean cosine of every two genes over the pairs of their wells in different groups."""

    totals: Float64[np.ndarray, "g d"]
    """Sum of the profiles of each gene's wells."""
    wells: Int[np.ndarray, " g"]
    """Number of wells of each gene."""
    inside: GroupSums

    def __len__(self) -> int:
        return len(self.totals)

    def cut(self, first: int) -> Strip:
        """Return the strip of tiles that starts at a row; pairs without wells have NO_VALUE."""
        rows, width = slice(first, min(first + tiles.SIDE, len(self))), _TILES * tiles.SIDE
        for start in range(first, len(self), width):
            panel = self._means(rows, slice(start, min(start + width, len(self))))
            for second in range(0, panel.shape[1], tiles.SIDE):
                yield first, start + second, panel[:, second : second + tiles.SIDE]

    def take(self, rows: Int[np.ndarray, " some"]) -> "OtherGroups":
        """Return the values of the pairs of some rows, which ascend."""
        place = np.full(len(self), -1)
        place[rows] = np.arange(len(rows))
        inside = self.inside
        kept = place[inside.genes] >= 0
        return OtherGroups(
            self.totals[rows],
            self.wells[rows],
            GroupSums(
                inside.groups[kept],
                place[inside.genes[kept]],
                inside.counts[kept],
                inside.sums[kept],
            ),
        )

    def _means(self, rows: slice, columns: slice) -> Float64[np.ndarray, "rows columns"]:
        """Return the mean cosines of two ranges of genes."""
        panel = self.totals[rows] @ self.totals[columns].T
        pairs = np.outer(self.wells[rows], self.wells[columns]).astype(np.float64)
        inside = self.inside
        for first, second in self._blocks(rows, columns):
            where: tuple = (
                inside.genes[first, None] - rows.start,
                inside.genes[second] - columns.start,
            )
            if where[0].size == panel.shape[0] and where[1].size == panel.shape[1]:
                where = (
                    ...,
                )  # a group of all these genes: a view, which takes a tenth of the time
            panel[where] -= inside.sums[first] @ inside.sums[second].T
            pairs[where] -= np.multiply.outer(inside.counts[first], inside.counts[second])
        without = pairs == 0
        pairs[without] = 1
        panel /= pairs
        # Sums in float32 round: the mean cosine of equal profiles could be above 1.
        np.clip(panel, -1, 1, out=panel)
        panel[without] = NO_VALUE
        return panel

    def _blocks(self, rows: slice, columns: slice) -> Iterable[tuple[slice, slice]]:
        """Yield, for each group with genes in both ranges, where they are in `inside`."""
        inside, count = self.inside, len(self)
        keys = inside.groups * count + inside.genes
        groups = np.unique(inside.groups) * count
        ends = [rows.start, rows.stop, columns.start, columns.stop]
        places = np.stack([np.searchsorted(keys, groups + end) for end in ends], axis=1)
        for low, high, left, right in places.tolist():
            if low < high and left < right:
                yield slice(low, high), slice(left, right)


def any_wells(
    parts: Iterable[Part], genes: Int[np.ndarray, " n"], count: int, width: int
) -> Cosines:
    """Return the mean cosines of `count` genes over all pairs of their wells.

    `genes` has the gene of each well, -1 for wells of no gene; each gene must have a well. `width`
    is the number of features.
    """
    totals = np.zeros((count, width))
    for numbers, unit in parts:
        _add(totals, genes[numbers], unit)
    return Cosines(totals / np.bincount(genes[genes >= 0], minlength=count)[:, None])


def other_groups(
    parts: Iterable[Part],
    genes: Int[np.ndarray, " n"],
    groups: Int[np.ndarray, " n"],
    count: int,
    width: int,
) -> OtherGroups:
    """Return the mean cosines of `count` genes over the pairs of their wells in different groups.

    The parameters are those of `any_wells`, and the group of each well.
    """
    inside = count_wells(genes, groups, count)
    keys = inside.groups * count + inside.genes
    totals = np.zeros((count, width))
    # float32, because a screen has almost as many of these sums as wells.
    sums = np.zeros((len(keys), width), dtype=np.float32)
    for numbers, unit in parts:
        _add(totals, genes[numbers], unit)
        places = np.searchsorted(keys, groups[numbers] * count + genes[numbers])
        _add(sums, np.where(genes[numbers] >= 0, places, -1), unit)
    return OtherGroups(
        totals, np.bincount(genes[genes >= 0], minlength=count), replace(inside, sums=sums)
    )


def count_wells(
    genes: Int[np.ndarray, " n"], groups: Int[np.ndarray, " n"], count: int
) -> GroupSums:
    """Return the numbers of wells of each gene in each group, with sums of no features."""
    used = genes >= 0
    keys, counts = np.unique(groups[used] * count + genes[used], return_counts=True)
    none = np.empty((len(keys), 0), dtype=np.float32)
    return GroupSums(keys // count, keys % count, counts, none)


def _add(
    sums: Float[np.ndarray, "k d"], places: Int[np.ndarray, " m"], unit: Float64[np.ndarray, "m d"]
) -> None:
    """Add each profile to the sum at its place; those at -1 to none."""
    used = places >= 0
    distinct, inverse = np.unique(places[used], return_inverse=True)
    # A sparse product, because numpy.add.at adds one number at a time.
    shape = (len(distinct), len(inverse))
    chosen = sparse.csr_array((np.ones(len(inverse)), (inverse, np.arange(len(inverse)))), shape)
    sums[distinct] += chosen @ unit[used]
