"""Mean cosine of two genes over those pairs of their wells that are on another plate, for example.

Wells that share a plate, a batch or a position look alike for technical reasons, so that genes
whose wells share them look related. The mean leaves such pairs of wells out. With profiles of
length 1, the sum of cosines over all pairs of wells of two genes is the inner product of the genes'
sums, and that over their pairs of wells within a group is the inner product of their sums in this
group. Subtracting the latter is exact, and no pair of wells is visited.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float32, Int
from scipy import sparse

from phenomae.evaluation.recall import tiles
from phenomae.evaluation.recall.one_pass import Cosines
from phenomae.evaluation.recall.tiles import NO_VALUE, Strip

TierName = Literal["any", "other-plate", "other-batch", "other-position"]
TIERS: dict[TierName, str | None] = {
    "any": None,
    "other-plate": "plate",
    "other-batch": "batch",
    "other-position": "well",
}
"""The tiers, and the column of the wells that two wells of a pair may not share."""
_TILES = 8  # tiles of a panel: products per group are longer then; 33 MB of numbers per core
_FEW = 128  # groups up to which a dense product of counts is faster than a sparse one
Part = tuple[Int[np.ndarray, " m"], Float[np.ndarray, "m d"]]
"""Some wells: their numbers among all wells, and their profiles of length 1."""


@dataclass(frozen=True)
class GroupSums:
    """Sums of the profiles of each gene's wells in each group, sorted by group, then by gene."""

    groups: Int[np.ndarray, " k"]
    genes: Int[np.ndarray, " k"]
    counts: Int[np.ndarray, " k"]
    """Number of wells of the gene in the group."""
    sums: Float32[np.ndarray, "k d"]

    @cached_property
    def present(self) -> Int[np.ndarray, " groups"]:
        """The groups that have genes."""
        return np.unique(self.groups)

    @cached_property
    def matrix(self) -> sparse.csr_array:
        """The counts as a sparse matrix of genes x groups, of those groups that have genes."""
        column = np.searchsorted(self.present, self.groups)
        shape = (int(self.genes.max(initial=-1)) + 1, len(self.present))
        counts = self.counts.astype(np.float32)  # exact: numbers of wells are below 2^24
        return sparse.csr_array((counts, (self.genes, column)), shape=shape)

    def count_pairs(self, pairs: Int[np.ndarray, "pairs 2"]) -> Int[np.ndarray, " pairs"]:
        """Return the number of pairs of wells in different groups, for pairs of genes."""
        wells = self.matrix.sum(axis=1)
        shared = self.matrix[pairs[:, 0]].multiply(self.matrix[pairs[:, 1]]).sum(axis=1)
        return np.asarray(wells[pairs].prod(axis=1) - shared).astype(np.int64)

    def blocks(self, rows: slice, columns: slice) -> Iterator[tuple[slice, slice]]:
        """Yield, for each group with genes in both ranges, where these genes are."""
        (keys, stride), groups = self._keys, self.present
        ends = [rows.start, rows.stop, columns.start, columns.stop]
        places = [np.searchsorted(keys, groups * stride + end) for end in ends]
        for low, high, left, right in np.stack(places, axis=1).tolist():
            if low < high and left < right:
                yield slice(low, high), slice(left, right)

    @cached_property
    def _keys(self) -> tuple[Int[np.ndarray, " k"], int]:
        """Group and gene of each sum as one ascending number, and its step from group to group."""
        stride = int(self.genes.max(initial=0)) + 1
        return self.groups * stride + self.genes, stride


@dataclass(frozen=True)
class OtherGroups:
    """The mean cosine of every two genes over the pairs of their wells in different groups."""

    totals: Float32[np.ndarray, "g d"]
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
            means, without = self._means(rows, slice(start, min(start + width, len(self))))
            for second in range(0, means.shape[1], tiles.SIDE):
                some = slice(second, second + tiles.SIDE)
                tile = means[:, some].astype(np.float64)
                tile[without[:, some]] = NO_VALUE
                yield first, start + second, tile

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

    def _means(
        self, rows: slice, columns: slice
    ) -> tuple[Float32[np.ndarray, "rows columns"], Bool[np.ndarray, "rows columns"]]:
        """Return the mean cosines of two ranges of genes, and which pairs of genes have none."""
        # float32 takes half the time of float64, and profiles have no more digits.
        panel = self.totals[rows] @ self.totals[columns].T
        inside, numbers = self.inside, panel.reshape(-1)
        for first, second in inside.blocks(rows, columns):
            within = inside.sums[first] @ inside.sums[second].T
            if within.shape == panel.shape:  # a group of all these genes
                panel -= within
                continue
            # One flat index, which takes half the time of an index of rows and one of columns.
            starts = (inside.genes[first] - rows.start) * panel.shape[1]
            places = starts[:, None] + (inside.genes[second] - columns.start)
            numbers[places.ravel()] -= within.ravel()
        pairs = self._pairs_of_wells(rows, columns)
        without = pairs == 0
        pairs[without] = 1
        panel /= pairs
        # Rounding: the mean cosine of equal profiles could be above 1.
        return np.clip(panel, -1, 1, out=panel), without

    def _pairs_of_wells(self, rows: slice, columns: slice) -> Float32[np.ndarray, "rows columns"]:
        """Return the numbers of pairs of wells in different groups."""
        wells, counts = self.wells.astype(np.float32), self.inside.matrix
        pairs: Float32[np.ndarray, "rows columns"] = wells[rows, None] * wells[columns]
        some, others = counts[rows], counts[columns]
        if len(self.inside.present) <= _FEW:
            pairs -= some.toarray() @ others.toarray().T
            return pairs
        within = sparse.coo_array(some @ others.T)
        # Each place is there once, as a product of sparse matrices sums what has the same place.
        pairs[within.coords] -= within.data
        return pairs


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
        totals.astype(np.float32),
        np.bincount(genes[genes >= 0], minlength=count),
        replace(inside, sums=sums),
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
    sums: Float[np.ndarray, "k d"], places: Int[np.ndarray, " m"], unit: Float[np.ndarray, "m d"]
) -> None:
    """Add each profile to the sum at its place; those at -1 to none."""
    used = places >= 0
    distinct, inverse = np.unique(places[used], return_inverse=True)
    # A sparse product, because numpy.add.at adds one number at a time.
    shape = (len(distinct), len(inverse))
    chosen = sparse.csr_array((np.ones(len(inverse)), (inverse, np.arange(len(inverse)))), shape)
    sums[distinct] += chosen @ unit[used]
