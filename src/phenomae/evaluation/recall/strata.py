"""Strata of pairs of genes: those with the same number of pairs of wells left out.

The mean cosine of two genes varies more, the fewer pairs of wells it is of, so that pairs of genes
are compared only with those whose tier leaves out as many pairs of wells. The sizes of the strata
follow from the wells' groups alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Bool, Float, Float64, Int
from scipy import sparse

from phenomae.evaluation.recall import tiles
from phenomae.evaluation.recall.recall import Percentiles, empty_tail, tail_ranks
from phenomae.evaluation.recall.tiles import run_strips
from phenomae.evaluation.recall.well_groups import FEW, WellGroups

_PATTERNS = 2048  # rows of counts whose products are counted at once: 100 MB
_DENSE = 4096  # strata up to which those without a pair of genes are kept


@dataclass(frozen=True)
class Strata:
    """The strata of all pairs of genes of a tier that have a pair of wells in it."""

    left_out: Int[np.ndarray, " s"]
    """Number of pairs of wells left out of each pair of genes of the stratum; ascends."""
    sizes: Int[np.ndarray, " s"]
    """Number of pairs of genes in the stratum; some strata have none."""
    without: int
    """Number of pairs of genes that have no pair of wells in the tier."""
    enough: Bool[np.ndarray, " s"]
    """Whether each tail of the stratum has a pair; pairs in other strata are left out."""
    ranks: Int[np.ndarray, "s 2t"]
    """Ranks of all lower, then of all upper thresholds among the sorted values of the stratum."""

    def __len__(self) -> int:
        return len(self.left_out)

    def look_up(
        self, left_out: Float[np.ndarray, "rows columns"]
    ) -> Int[np.ndarray, "rows columns"]:
        """Return the stratum of pairs of genes that have pairs of wells left."""
        numbers = left_out.astype(np.intp)
        if len(self) == self.left_out[-1] + 1:  # 0, 1, 2 ...
            return numbers
        return np.searchsorted(self.left_out, numbers)

    def find(
        self, left_out: Int[np.ndarray, " pairs"], left: Int[np.ndarray, " pairs"]
    ) -> Int[np.ndarray, " pairs"]:
        """Return the stratum of pairs of genes by the numbers of their pairs of wells.

        Pairs that are left out, because no pair of wells is left or the stratum is too small, have
        the stratum `len(self)`.
        """
        found = np.where(left > 0, self.look_up(left_out), len(self))
        return np.where(np.append(self.enough, False)[found], found, len(self))

    @property
    def pairs(self) -> int:
        """Number of pairs of genes that are not left out."""
        return int(self.sizes[self.enough].sum())

    @property
    def all_pairs(self) -> int:
        """Number of pairs of genes."""
        return int(self.sizes.sum()) + self.without

    def expect(
        self, strata: Int[np.ndarray, " pairs"]
    ) -> tuple[Float64[np.ndarray, " t"], Float64[np.ndarray, " t"]]:
        """Return the expected recall of pairs drawn from these strata at random, and the largest.

        No more pairs of a stratum can be recalled than its tails have room for.
        """
        below, above = np.split(self.ranks, 2, axis=1)
        room = np.minimum(below + (self.sizes[:, None] - 1 - above), self.sizes[:, None])
        known = np.bincount(strata, minlength=len(self))[:, None]
        chance = (known * room / np.maximum(self.sizes, 1)[:, None]).sum(axis=0)
        most = np.minimum(known, room).sum(axis=0)
        return chance / max(len(strata), 1), most / max(len(strata), 1)


def find_strata(groups: WellGroups, percentiles: Sequence[Percentiles]) -> Strata:
    """Return the strata of all pairs of genes, which follow from the numbers of wells alone."""
    sizes = count_strata(groups)
    # Consecutive numbers are their own index, which takes a tenth of the time of a search.
    left_out = np.arange(len(sizes)) if len(sizes) <= _DENSE else np.flatnonzero(sizes)
    sizes, count = sizes[left_out], len(groups.wells)
    ranks = [tail_ranks(size, percentiles) for size in sizes.tolist()]
    return Strata(
        left_out,
        sizes,
        count * (count - 1) // 2 - int(sizes.sum()),
        np.array([empty_tail(size, percentiles) is None for size in sizes.tolist()]),
        np.array(ranks).reshape(len(sizes), -1),
    )


def count_strata(groups: WellGroups) -> Int[np.ndarray, " most"]:
    """Return the number of pairs of genes of which 0, 1, 2 ... pairs of wells are left out.

    Pairs of genes without any pair of wells left are not counted.
    """
    # The inner product of two rows of counts is at most the largest of a row with itself.
    most = int(np.max(groups.matrix.multiply(groups.matrix).sum(axis=1), initial=0))
    sizes = np.zeros(most + 1, dtype=np.int64)
    patterns = _find_patterns(groups)
    if patterns is None:
        count, work = len(groups.wells), partial(_count_strip, groups)
        for strip in run_strips(count, work, np.asarray, "pairs of wells"):
            sizes[: len(strip)] += strip
    else:
        _add_patterns(sizes, *patterns)
    _subtract_inside(sizes, groups)
    return np.trim_zeros(sizes, "b") if sizes.any() else sizes[:1]


def _find_patterns(groups: WellGroups) -> tuple[Float[np.ndarray, "p m"], np.ndarray] | None:
    """Return the distinct rows of the counts and how often each occurs; None if they are many."""
    # In a screen of few batches many genes have their wells in the same ones.
    if len(groups.present) > FEW:
        return None
    patterns, times = np.unique(groups.dense, axis=0, return_counts=True)
    return (patterns, times) if len(times) <= _PATTERNS else None


def _add_patterns(
    sizes: Int[np.ndarray, " most"], patterns: Float[np.ndarray, "p m"], times: np.ndarray
) -> None:
    left_out = (patterns @ patterns.T).astype(np.intp)
    pairs = np.triu(np.multiply.outer(times, times), k=1) + np.diag(times * (times - 1) // 2)
    np.add.at(sizes, left_out.ravel(), pairs.ravel())


def _count_strip(groups: WellGroups, first: int) -> Int[np.ndarray, " some"]:
    """Return of how many pairs of genes of a strip 0, 1, 2 ... pairs of wells are left out."""
    rows, height = slice(first, first + tiles.SIDE), min(tiles.SIDE, len(groups.wells) - first)
    if len(groups.present) <= FEW:
        left_out = (groups.dense[rows] @ groups.dense[first:].T).astype(np.intp)
        # All pairs of the diagonal tile are there twice, and every gene with itself.
        own = np.bincount(left_out[:, :height].ravel())
        own -= np.bincount(np.diag(left_out), minlength=len(own))
        counts = np.bincount(left_out[:, height:].ravel(), minlength=len(own))
        counts[: len(own)] += own // 2
        return counts
    shared = sparse.coo_array(groups.matrix[rows] @ groups.transposed[:, first:])
    later = shared.coords[1] > shared.coords[0]
    counts = np.bincount(shared.data[later].astype(np.intp), minlength=1)
    counts[0] = height * (len(groups.wells) - first) - height * (height + 1) // 2 - later.sum()
    return counts


def _subtract_inside(sizes: Int[np.ndarray, " most"], groups: WellGroups) -> None:
    """Subtract the pairs of genes that have all their wells in one group, and none left."""
    inside = groups.counts == groups.wells[groups.genes]
    keys = np.column_stack([groups.groups[inside], groups.counts[inside]])
    distinct, times = np.unique(keys, axis=0, return_counts=True)
    for (group, wells), genes in zip(distinct.tolist(), times.tolist(), strict=True):
        sizes[wells * wells] -= genes * (genes - 1) // 2
        more = (distinct[:, 0] == group) & (distinct[:, 1] > wells)
        np.subtract.at(sizes, wells * distinct[more, 1], genes * times[more])
