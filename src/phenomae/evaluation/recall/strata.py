"""Strata of pairs of genes: those with as many pairs of wells, of which as many are left out.

The mean cosine of two genes varies more, the fewer pairs of wells it is of, and the more of them
share a plate, batch or position, the more the genes' layouts are alike. So pairs of genes are
compared only with those of the same two numbers. The sizes of the strata follow from the wells'
groups alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Num
from scipy import sparse

from phenomae.evaluation.recall import tiles
from phenomae.evaluation.recall.recall import Percentiles, empty_tail, tail_ranks
from phenomae.evaluation.recall.tiles import run_strips
from phenomae.evaluation.recall.well_groups import FEW, WellGroups

_PATTERNS = 2048  # rows of counts whose products are counted at once: 100 MB
_TABLE = 1 << 22  # pairs of the two numbers that are looked up in a table, and not by a search


@dataclass(frozen=True)
class PairsOfWells:
    """The numbers of pairs of wells that two genes can have.

    They are few, because most genes have equal numbers of wells.
    """

    wells: Int[np.ndarray, " m"]
    """The numbers of wells of genes; ascends."""
    table: Int[np.ndarray, "m m"]
    """Place in `numbers` of the number of pairs of wells of two genes with these numbers."""
    numbers: Int[np.ndarray, " c"]
    """Numbers of pairs of wells of two genes; ascends."""

    def classify(self, wells: Int[np.ndarray, " g"]) -> Int[np.ndarray, " g"]:
        """Return the row of `table` of genes with these numbers of wells."""
        return np.searchsorted(self.wells, wells)

    def find(
        self, first: Int[np.ndarray, "*first"], second: Int[np.ndarray, "*second"]
    ) -> np.ndarray:
        """Return the place in `numbers` of pairs of genes of these classes, which are broadcast."""
        return self.table[first, second]


def list_pairs_of_wells(wells: Int[np.ndarray, " g"]) -> PairsOfWells:
    """Return the numbers of pairs of wells of all pairs of genes with these numbers of wells."""
    distinct = np.unique(wells)
    numbers, table = np.unique(np.multiply.outer(distinct, distinct), return_inverse=True)
    return PairsOfWells(distinct, table.reshape(len(distinct), -1), numbers)


@dataclass(frozen=True)
class Strata:
    """The strata of all pairs of genes of a tier that have a pair of wells in it."""

    pairs_of_wells: PairsOfWells
    keys: Int[np.ndarray, " s"]
    """Key of each stratum, which joins its two numbers; ascends."""
    stride: int
    """Keys are (place in `pairs_of_wells.numbers`) * `stride` + (number of pairs left out)."""
    sizes: Int[np.ndarray, " s"]
    """Number of pairs of genes in the stratum."""
    without: int
    """Number of pairs of genes that have no pair of wells in the tier."""
    enough: Bool[np.ndarray, " s"]
    """Whether each tail of the stratum has a pair; pairs in other strata are left out."""
    ranks: Int[np.ndarray, "s 2t"]
    """Ranks of all lower, then of all upper thresholds among the sorted values of the stratum."""

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def left_out(self) -> Int[np.ndarray, " s"]:
        """Number of pairs of wells left out of each pair of genes of the stratum."""
        return self.keys % self.stride

    def look_up(
        self, kinds: Int[np.ndarray, "*n"] | int, left_out: Num[np.ndarray, "*n"]
    ) -> np.ndarray:
        """Return the stratum of pairs of genes; any for those without a stratum.

        `kinds` are the places of their numbers of pairs of wells in `pairs_of_wells.numbers`.
        """
        keys = kinds * self.stride + left_out.astype(np.intp)
        if self._table is None:
            return np.searchsorted(self.keys, keys)
        return keys if len(self._table) == len(self) else self._table[keys]

    @cached_property
    def _table(self) -> Int[np.ndarray, " k"] | None:
        """The stratum of every key, which takes a tenth of the time of a search; None for many."""
        count = int(self.keys[-1]) + 1
        if len(self.pairs_of_wells.numbers) * self.stride > _TABLE:
            return None
        if count == len(self):  # 0, 1, 2 ... are their own index
            return self.keys
        table = np.zeros(len(self.pairs_of_wells.numbers) * self.stride, dtype=np.intp)
        table[self.keys] = np.arange(len(self))
        return table

    def find(
        self, groups: WellGroups, pairs: Int[np.ndarray, "pairs 2"]
    ) -> Int[np.ndarray, " pairs"]:
        """Return the stratum of pairs of genes.

        Pairs that are left out, because no pair of wells is left or the stratum is too small, have
        the stratum `len(self)`.
        """
        found = self.locate(groups, pairs)
        return np.where(np.append(self.enough, False)[found], found, len(self))

    def locate(
        self, groups: WellGroups, pairs: Int[np.ndarray, "pairs 2"]
    ) -> Int[np.ndarray, " pairs"]:
        """Return the stratum, however small, of pairs of genes; `len(self)` if none is left."""
        kinds = self.pairs_of_wells.find(*self.pairs_of_wells.classify(groups.wells[pairs]).T)
        left_out = groups.count_left_out(pairs)
        is_left = left_out < self.pairs_of_wells.numbers[kinds]
        return np.where(is_left, self.look_up(kinds, left_out), len(self))

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
        recalled = np.minimum(known, room).sum(axis=0)
        return chance / max(len(strata), 1), recalled / max(len(strata), 1)


def find_strata(groups: WellGroups, percentiles: Sequence[Percentiles]) -> Strata:
    """Return the strata of all pairs of genes, which follow from the numbers of wells alone."""
    pairs_of_wells = list_pairs_of_wells(groups.wells)
    keys, sizes, stride = count_strata(groups, pairs_of_wells)
    count = len(groups.wells)
    ranks = [tail_ranks(size, percentiles) for size in sizes.tolist()]
    return Strata(
        pairs_of_wells,
        keys,
        stride,
        sizes,
        count * (count - 1) // 2 - int(sizes.sum()),
        np.array([empty_tail(size, percentiles) is None for size in sizes.tolist()]),
        np.array(ranks).reshape(len(sizes), -1),
    )


def count_strata(
    groups: WellGroups, pairs_of_wells: PairsOfWells
) -> tuple[Int[np.ndarray, " s"], Int[np.ndarray, " s"], int]:
    """Return the keys of the strata that have pairs of genes, their sizes, and `Strata.stride`.

    Pairs of genes without any pair of wells left are not counted. Without any other, there is one
    stratum of no pair.
    """
    # The inner product of two rows of counts is at most the largest of a row with itself.
    stride = int(np.max(groups.matrix.multiply(groups.matrix).sum(axis=1), initial=0)) + 1
    classes, count = pairs_of_wells.classify(groups.wells), len(groups.wells)
    keys, sizes = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    patterns = _find_patterns(groups)
    if patterns is not None:
        parts = iter([_count_patterns(*patterns, pairs_of_wells, stride)])
    else:
        work = partial(_count_strip, groups, classes, pairs_of_wells, stride)
        parts = run_strips(count, work, tuple, "pairs of wells")
    for more_keys, more_sizes in parts:
        keys, sizes = _add_up([keys, more_keys], [sizes, more_sizes])
    numbers = pairs_of_wells.numbers
    # A pair of genes with all pairs of wells left out has all its wells in one group.
    left = keys % stride < numbers[keys // stride]
    if not left.any():
        return np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64), stride
    return keys[left], sizes[left], stride


def _add_up(
    keys: Sequence[Int[np.ndarray, " _"]], sizes: Sequence[Int[np.ndarray, " _"]]
) -> tuple[Int[np.ndarray, " k"], Int[np.ndarray, " k"]]:
    """Return the distinct keys and the sums of their sizes; keys without a pair are left out."""
    distinct, places = np.unique(np.concatenate(keys), return_inverse=True)
    sums = np.zeros(len(distinct), dtype=np.int64)
    np.add.at(sums, places, np.concatenate(sizes))
    return distinct[sums > 0], sums[sums > 0]


def _tally(keys: Int[np.ndarray, "*n"]) -> tuple[Int[np.ndarray, " k"], Int[np.ndarray, " k"]]:
    """Return the distinct keys and how often each occurs."""
    keys = keys.ravel()
    # A tenth of the time of sorting, which large keys need.
    if keys.max(initial=0) < max(_TABLE, len(keys)):
        counts = np.bincount(keys)
        found = np.flatnonzero(counts)
        return found, counts[found]
    return np.unique(keys, return_counts=True)


def _find_patterns(groups: WellGroups) -> tuple[Float[np.ndarray, "p m"], np.ndarray] | None:
    """Return the distinct rows of the counts and how often each occurs; None if they are many.

    The first column has the numbers of wells, the others those in each group.
    """
    # In a screen of few batches many genes have their wells in the same ones.
    if len(groups.present) > FEW:
        return None
    counts = np.column_stack([groups.wells.astype(groups.number_type), groups.dense])
    patterns, times = np.unique(counts, axis=0, return_counts=True)
    return (patterns, times) if len(times) <= _PATTERNS else None


def _count_patterns(
    patterns: Float[np.ndarray, "p m"],
    times: Int[np.ndarray, " p"],
    pairs_of_wells: PairsOfWells,
    stride: int,
) -> tuple[Int[np.ndarray, " k"], Int[np.ndarray, " k"]]:
    """Return keys and numbers of pairs of genes, from the distinct rows of the counts."""
    wells, counts = patterns[:, 0].astype(np.int64), patterns[:, 1:]
    classes = pairs_of_wells.classify(wells)
    keys = pairs_of_wells.find(classes[:, None], classes) * stride
    keys += (counts @ counts.T).astype(np.intp)
    pairs = np.triu(np.multiply.outer(times, times), k=1) + np.diag(times * (times - 1) // 2)
    return _add_up([keys.ravel()], [pairs.ravel()])


def _count_strip(
    groups: WellGroups,
    classes: Int[np.ndarray, " g"],
    pairs_of_wells: PairsOfWells,
    stride: int,
    first: int,
) -> tuple[Int[np.ndarray, " k"], Int[np.ndarray, " k"]]:
    """Return keys and numbers of pairs of genes of a strip, each pair once."""
    rows, height = slice(first, first + tiles.SIDE), min(tiles.SIDE, len(groups.wells) - first)
    if len(groups.present) <= FEW:
        kinds = pairs_of_wells.find(classes[rows, None], classes[first:])
        keys = kinds * stride + (groups.dense[rows] @ groups.dense[first:].T).astype(np.intp)
        above = np.triu_indices(height, k=1)  # a tile on the diagonal has its pairs twice
        own, later = _tally(keys[:, :height][above]), _tally(keys[:, height:])
        return _add_up([own[0], later[0]], [own[1], later[1]])
    shared = sparse.coo_array(groups.matrix[rows] @ groups.transposed[:, first:])
    once = shared.coords[1] > shared.coords[0]
    of_row, of_column = (places[once] for places in shared.coords)
    kinds = pairs_of_wells.find(classes[rows][of_row], classes[first:][of_column])
    keys, sizes = _tally(kinds * stride + shared.data[once].astype(np.intp))
    # All pairs of genes of each kind, less those that share a group.
    every = _count_kinds(classes[first:], height, pairs_of_wells)
    every -= np.bincount(kinds, minlength=len(every))
    return _add_up([keys, np.arange(len(every)) * stride], [sizes, every])


def _count_kinds(
    classes: Int[np.ndarray, " g"], height: int, pairs_of_wells: PairsOfWells
) -> Int[np.ndarray, " c"]:
    """Return how many pairs of genes have each number of pairs of wells.

    The pairs are those of the first `height` genes with all genes after them.
    """
    count = len(pairs_of_wells.wells)
    of_rows, of_later = (
        np.bincount(some, minlength=count) for some in (classes[:height], classes[height:])
    )
    own = np.multiply.outer(of_rows, of_rows) - np.diag(of_rows)  # each pair twice
    pairs = own + 2 * np.multiply.outer(of_rows, of_later)
    every = np.zeros(len(pairs_of_wells.numbers), dtype=np.int64)
    np.add.at(every, pairs_of_wells.table, pairs)
    return every // 2
