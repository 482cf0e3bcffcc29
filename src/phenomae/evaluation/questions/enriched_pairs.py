"""Are known pairs enriched among the most similar of all pairs of a map?

Thresholds are exact order statistics, and which pairs are above them is one bit for each pair, so
that memory does not grow with the cosines and every permutation of the names is a look-up.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float64, Int, UInt8

from phenomae.evaluation.questions.odds import Tables
from phenomae.evaluation.recall.bootstrap import draw_counts, interval
from phenomae.evaluation.recall.cosines import (
    Pairs,
    Unit,
    count_marked,
    is_marked,
    mark_several_tails,
)
from phenomae.evaluation.recall.one_pass import find_in_tails
from phenomae.evaluation.recall.permutation import shuffle_rows
from phenomae.evaluation.recall.recall import Percentiles
from phenomae.maps.p_values import p_values

Marks = list[UInt8[np.ndarray, "g eighth_of_g"]]


@dataclass(frozen=True)
class Similar:
    """Which pairs of a map are among the most similar, for several fractions of all pairs."""

    marks: Marks
    counts: list[int]
    """Number of pairs that are."""
    pairs: int
    """Number of all pairs."""

    def among(self, pairs: Pairs) -> Bool[np.ndarray, "pairs t"]:
        """Return which of some pairs are among the most similar."""
        return np.column_stack([is_marked(bits, pairs) for bits in self.marks])

    def tables(
        self, known_top: Int[np.ndarray, " k"], known: Int[np.ndarray, " k"], which: int
    ) -> Tables:
        """Return the 2 x 2 tables of sets of known pairs, for fraction number `which`."""
        other_top = self.counts[which] - known_top
        return Tables(known_top, known - known_top, other_top, self.pairs - known - other_top)


def upper_tail(top: float) -> Percentiles:
    """Return the percentile pair whose tails are the most similar pairs alone."""
    # Rounded, because 1 - .07 is .9299999999999999 in floating point.
    return 0.0, round(1 - top, 12)


def find_similar(unit: Unit, tops: Sequence[float]) -> Similar:
    """Mark the pairs of rows whose cosine is among the highest, for each fraction of all pairs.

    Pairs with the cosine of the threshold are not among them, so that ties make them fewer.
    """
    none = np.empty((0, 2), dtype=np.int64)
    found = find_in_tails(unit, [upper_tail(top) for top in tops], none)
    limits = [(-np.inf, above) for above in found.tails.above.tolist()]
    marks = mark_several_tails(unit, limits)
    pairs = len(unit) * (len(unit) - 1) // 2
    return Similar(marks, [count_marked(bits) for bits in marks], pairs)


def shuffled_counts(
    similar: Similar, sets: Sequence[Pairs], shuffles: int, seed: int
) -> Int[np.ndarray, "shuffles t k"]:
    """Return how many pairs of each set are similar under each permutation of the names.

    All sets share a permutation. Permutation k depends on `seed` and k alone.
    """
    pairs = np.concatenate(list(sets))
    starts = np.cumsum([0, *(len(known) for known in sets)])[:-1]
    counts = np.empty((shuffles, len(similar.marks), len(sets)), dtype=np.int64)
    for k in range(shuffles):
        names = shuffle_rows(len(similar.marks[0]), np.random.default_rng([seed, k]))
        found = similar.among(names[pairs])
        counts[k] = np.add.reduceat(found, starts, axis=0, dtype=np.int64).T
    return counts


def p_of_counts(
    known_top: Int[np.ndarray, " k"], null: Int[np.ndarray, "shuffles k"]
) -> Float64[np.ndarray, " k"]:
    """Return the p-values of numbers of similar pairs; NaN without permutations.

    With the margins of the table fixed, the odds ratio rises with the number of similar pairs, so
    that these are also the p-values of the odds ratios.
    """
    if not len(null):
        return np.full(len(known_top), np.nan)
    columns = zip(known_top[:, None], null.T, strict=True)
    return np.array([p_values(one, of_set)[0] for one, of_set in columns])


def odds_intervals(
    similar: Similar,
    found: Bool[np.ndarray, "pairs t"],
    resampled: Float64[np.ndarray, "resamples t"],
) -> list[tuple[float, float]]:
    """Return the bootstrap interval of the odds ratio of a set of pairs, for each fraction.

    `found` marks the similar ones of the pairs, and `resampled` has their share in each resample
    of the genes. The cells of the other pairs are not resampled, as these are many. NaN without
    resamples, and if all pairs are similar, or none, because all resamples are the same then.
    """
    limits = []
    for which, (marks, shares) in enumerate(zip(found.T, resampled.T, strict=True)):
        if marks.all() or not marks.any():
            limits.append((np.nan, np.nan))
            continue
        other_top = similar.counts[which] - int(marks.sum())
        other_rest = similar.pairs - len(marks) - other_top
        # The odds ratio rises with the share, so that its quantiles are those of the shares.
        ends = np.array(interval(shares))
        odds = Tables(ends, 1 - ends, np.full(2, other_top), np.full(2, other_rest)).odds_ratios()
        limits.append((float(odds[0]), float(odds[1])))
    return limits


def class_shares(
    found: Bool[np.ndarray, "pairs t"], size: int, resamples: int, seed: int
) -> Float64[np.ndarray, "resamples t"]:
    """Do as `bootstrap.resampled_recalls` for all pairs of `size` genes, in less time.

    `found` has the pairs in the order of `known_pairs.pairs_within`.
    """
    drawn = _drawn(size, resamples, seed)
    first, second = np.triu_indices(size, k=1)
    matrix = np.zeros((found.shape[1], size, size))
    matrix[:, first, second] = found.T
    weights = np.einsum("ri,tij,rj->rt", drawn, matrix, drawn, optimize=True)
    pairs = (drawn.sum(axis=1) ** 2 - (drawn**2).sum(axis=1)) / 2
    # NaN in a resample that draws a single gene, and so has no pair.
    return np.divide(
        weights, pairs[:, None], np.full_like(weights, np.nan), where=pairs[:, None] > 0
    )


@lru_cache(maxsize=64)  # most complexes have few genes, and those of a size share their resamples
def _drawn(size: int, resamples: int, seed: int) -> Float64[np.ndarray, "resamples genes"]:
    return np.array([draw_counts(size, [seed, k]) for k in range(resamples)]).reshape(-1, size)
