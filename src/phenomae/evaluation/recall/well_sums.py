"""Sums of the wells' profiles of each gene, and of those in each group of a tier.

With profiles of length 1, the sum of cosines over all pairs of wells of two genes is the inner
product of the genes' sums, and that over their pairs within a group is the inner product of their
sums in this group. Subtracting the latter is exact, and no pair of wells is visited.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float, Float32, Int
from scipy import sparse

from phenomae.evaluation.recall import tiles
from phenomae.evaluation.recall.tiers import TierName
from phenomae.evaluation.recall.well_groups import FEW, WellGroups

Part = tuple[Int[np.ndarray, " m"], Float[np.ndarray, "m d"]]
"""Some wells: their numbers among all wells, and their profiles of length 1."""
OfWells = tuple[WellGroups, Int[np.ndarray, " n"] | None]
"""The numbers of wells of a tier, and the group of each well; None if nothing is left out."""
Panel = Float[np.ndarray, "rows columns"]
"""A number for every pair of two ranges of genes."""
# Time of an element of the products of small blocks, beside one of a large product: its place in
# the panel is looked up, and small products are slower (docs/log.md, 2026-11-28).
_SMALL = 1.4
_ROWS = 512  # genes whose sums are transformed at once


class GroupSums(Protocol):
    """The sums of profiles within the groups of a tier."""

    def subtract(self, total: Panel, rows: slice, columns: slice) -> tuple[Panel, Panel]:
        """Return the sums of cosines over the pairs of wells left, and the numbers of those not.

        `total` has the sums over all pairs of wells, and is not changed.
        """
        ...

    def take(self, rows: Int[np.ndarray, " some"]) -> "GroupSums":
        """Return the sums of some genes, which ascend."""
        ...


@dataclass(frozen=True)
class FewGroups:
    """The sums of a tier with few groups, each of which has most genes."""

    groups: WellGroups
    number: int
    """Number of groups."""
    contrasts: Float32[np.ndarray, "g c"]
    """Orthonormal contrasts between each gene's sums in the groups, one after the other."""

    def subtract(self, total: Panel, rows: slice, columns: slice) -> tuple[Panel, Panel]:
        """Return sums and numbers of pairs of wells, as `GroupSums` describes."""
        # The products of the groups' sums add up to those of any orthonormal combinations of them.
        # The first is the total over the root of the number of groups, whose product is known
        # already: one product of all other contrasts is left, one group less wide.
        left = total * np.float32(1 - 1 / self.number)
        left -= multiply(self.contrasts, self.contrasts, rows, columns)
        return left, multiply(self.groups.dense, self.groups.dense, rows, columns)

    def take(self, rows: Int[np.ndarray, " some"]) -> "FewGroups":
        """Return the sums of some genes."""
        return FewGroups(self.groups.take(rows)[0], self.number, self.contrasts[rows])


@dataclass(frozen=True)
class ManyGroups:
    """The sums of a tier with many groups, each of which has some genes."""

    groups: WellGroups
    sums: Float32[np.ndarray, "k d"]
    """The sum of each gene in each of its groups, in the order of `groups`."""

    def subtract(self, total: Panel, rows: slice, columns: slice) -> tuple[Panel, Panel]:
        """Return sums and numbers of pairs of wells, as `GroupSums` describes."""
        left, out = total.copy(), np.zeros(total.shape, dtype=self.groups.number_type)
        of_left, of_out = left.reshape(-1), out.reshape(-1)
        genes, counts = self.groups.genes, self.groups.counts.astype(out.dtype)
        for first, second in self.groups.blocks(rows, columns):
            # One flat index, which takes half the time of an index of rows and one of columns.
            starts = (genes[first] - rows.start) * total.shape[1]
            places = (starts[:, None] + (genes[second] - columns.start)).ravel()
            of_left[places] -= (self.sums[first] @ self.sums[second].T).ravel()
            of_out[places] += np.multiply.outer(counts[first], counts[second]).ravel()
        return left, out

    def take(self, rows: Int[np.ndarray, " some"]) -> "ManyGroups":
        """Return the sums of some genes."""
        groups, kept = self.groups.take(rows)
        return ManyGroups(groups, self.sums[kept])


def multiply(left: Panel, right: Panel, rows: slice, columns: slice) -> Panel:
    """Return the inner products of two ranges of rows; 0 in tiles that are below the diagonal."""
    if rows != columns:
        return left[rows] @ right[columns].T
    product = np.zeros((rows.stop - rows.start,) * 2, dtype=left.dtype)
    for start in range(0, len(product), tiles.SIDE):
        here = slice(rows.start + start, min(rows.start + start + tiles.SIDE, rows.stop))
        later = slice(here.start, rows.stop)
        product[start : start + tiles.SIDE, start:] = left[here] @ right[later].T
    return product


def sum_wells(
    parts: Iterable[Part],
    genes: Int[np.ndarray, " n"],
    tiers: Mapping[TierName, OfWells],
    width: int,
) -> tuple[Float32[np.ndarray, "g d"], dict[TierName, GroupSums | None]]:
    """Return the sum of the profiles of each gene's wells, and of those in each tier's groups.

    `genes` has the gene of each well, -1 for wells of no gene; `width` is the number of features.
    `parts` are read once. A tier that leaves out nothing has no sums.
    """
    count = len(next(iter(tiers.values()))[0].wells)
    places = {"": (genes, count)}
    for tier, (groups, of_wells) in tiers.items():
        if of_wells is not None:
            places[tier] = _places(groups, genes, of_wells)
    # float32, because a screen has almost as many of these sums as wells.
    sums = {key: np.zeros((size, width), dtype=np.float32) for key, (_, size) in places.items()}
    for numbers, unit in parts:
        used = genes[numbers] >= 0
        numbers, profiles = numbers[used], unit[used].astype(np.float32)
        for key, (place, _) in places.items():
            _add(sums[key], place[numbers], profiles)
    made: dict[TierName, GroupSums | None] = {
        tier: None if of_wells is None else _finish(groups, sums.pop(tier))
        for tier, (groups, of_wells) in tiers.items()
    }
    return sums[""], made


def _has_few(groups: WellGroups) -> bool:
    """Return whether one wide product takes less time than a small product for each group."""
    in_group = np.bincount(np.searchsorted(groups.present, groups.groups))
    wide = (len(in_group) - 1) * len(groups.wells) ** 2
    return len(in_group) <= FEW and wide <= _SMALL * float((in_group.astype(float) ** 2).sum())


def _places(
    groups: WellGroups, genes: Int[np.ndarray, " n"], of_wells: Int[np.ndarray, " n"]
) -> tuple[Int[np.ndarray, " n"], int]:
    """Return the sum that each well is added to, and the number of sums."""
    if _has_few(groups):
        number = len(groups.present)
        return genes * number + np.searchsorted(groups.present, of_wells), len(
            groups.wells
        ) * number
    return groups.places(genes, of_wells), len(groups.groups)


def _finish(groups: WellGroups, sums: Float32[np.ndarray, "k d"]) -> GroupSums:
    if not _has_few(groups):
        return ManyGroups(groups, sums)
    number, width = len(groups.present), sums.shape[1]
    of_genes = sums.reshape(len(groups.wells), number, width)
    from scipy.linalg import helmert  # a fifteenth of a small benchmark, needed for wells only

    contrasts = helmert(number).astype(np.float32)
    # In place, because these are the largest arrays of a tier.
    for first in range(0, len(of_genes), _ROWS):
        some = of_genes[first : first + _ROWS]
        some[:, :-1] = contrasts @ some
    return FewGroups(groups, number, sums.reshape(len(of_genes), -1)[:, : (number - 1) * width])


def _add(
    sums: Float32[np.ndarray, "k d"], places: Int[np.ndarray, " m"], unit: Float[np.ndarray, "m d"]
) -> None:
    """Add each profile to the sum at its place."""
    distinct, inverse = np.unique(places, return_inverse=True)
    if len(distinct) == len(places):
        sums[places] += unit
        return
    # A sparse product, because numpy.add.at adds one number at a time.
    shape = (len(distinct), len(places))
    ones = np.ones(len(places), dtype=np.float32)
    chosen = sparse.csr_array((ones, (inverse, np.arange(len(places)))), shape)
    sums[distinct] += chosen @ unit
