"""P-values of mean average precision: a permutation test that exchanges profiles.

If a group's profiles differ in nothing from those they are ranked with, it does not matter which
profiles the group has. The null distribution exchanges them, within plates if every profile is
ranked on its own plate, and computes the mean average precision again. This keeps the dependence
between the rankings of a group, which the null distribution of copairs lacks.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int, Int32

from phenomae.blas import one_blas_thread
from phenomae.cores import available_cores
from phenomae.evaluation.questions.pairing import Codes, Pairing
from phenomae.maps.p_values import p_values
from phenomae.maps.unit_vectors import unit_rows
from phenomae.progress import tracked

# With more, a random part of them is ranked, in the test and in its null distribution alike. The
# p-value stays exact, and 500 negatives allow p-values below .002.
_QUERIES, _NEGATIVES = 32, 500
_LONG_WORK = 1000  # groups from which progress is shown, because they take over ten seconds
# Cosines are counted in millionths: equal profiles must be ties, and products round differently.
_UNITS = 1_000_000
_INDEX_BITS = 10  # so that an index and a similarity (21 bits) fit in 32 bits
Cosines = Int32[np.ndarray, "e e"]


@dataclass(frozen=True)
class Ranking:
    """What each query of a group ranks, as indices of the profiles that may be exchanged."""

    rows: Codes
    """The profiles: the queries first, in each stratum. Profiles of a stratum are adjacent."""
    strata: tuple[int, ...]
    """Number of profiles in each stratum, within which profiles are exchanged."""
    queries: list[tuple[int, Codes, Codes]]
    """Query, positives and negatives, for every query that has both."""


def p_of_groups(
    features: Float64[np.ndarray, "n d"], pairing: Pairing, groups: Codes, draws: int, seed: int
) -> Float64[np.ndarray, " groups"]:
    """Return the p-value of the mean average precision of each of `groups`.

    A p-value is (1 + null values >= the observed value) / (1 + draws). It depends on the group's
    profiles and those they are ranked with, `draws` and `seed`.
    """
    unit = unit_rows(features).astype(np.float32)
    members = pairing.list_members(groups)

    def test(place: int) -> float:
        group = int(groups[place])
        rng = np.random.default_rng([seed, group])
        ranking = rank(pairing, group, members[place], rng)
        if not ranking.queries:
            return 1.0
        values = exchanged_precisions(unit, ranking, draws, seed, rng)
        return float(p_values(values[:1], values[1:])[0])

    with one_blas_thread(), ThreadPoolExecutor(available_cores()) as pool:
        p: Iterable[float] = pool.map(test, range(len(groups)))
        if len(groups) >= _LONG_WORK:
            p = tracked(p, "average precision, p-values", len(groups), "groups")
        return np.fromiter(p, dtype=np.float64, count=len(groups))


def exchanged_precisions(
    unit: Float32[np.ndarray, "n d"],
    ranking: Ranking,
    draws: int,
    seed: int,
    rng: np.random.Generator,
) -> Float64[np.ndarray, " draws_and_one"]:
    """Return the mean average precision of a group, then that of each exchange."""
    own = unit[ranking.rows]
    products = own @ own.T
    products *= np.float32(_UNITS)
    cosines = np.rint(products, out=products).astype(np.int32)
    orders = exchanges(ranking.strata, draws, seed)
    # Groups share the exchanges. Seen from a random one of them, which becomes the order as it is,
    # they are a valid null distribution all the same (Ramdas et al. 2023, Sankhya A 85).
    chosen = rng.integers(orders.shape[1])
    values = mean_precision(cosines, ranking, orders, np.argsort(orders[:, chosen]))
    return np.concatenate([values[[chosen]], np.delete(values, chosen)])


def rank(pairing: Pairing, group: int, own: Codes, rng: np.random.Generator) -> Ranking:
    """Return what the profiles `own` of a group rank: all of it, or a random part if it is much."""
    if len(own) > _QUERIES:
        own = np.sort(rng.permutation(own)[:_QUERIES])
    others = pairing.negatives_of(group, own, _NEGATIVES, rng)
    if pairing.plates is None:
        stratum = np.zeros(len(own) + len(others), dtype=np.int64)
    else:
        stratum = pairing.plates[np.concatenate([own, others])]
    order = np.argsort(stratum, kind="stable")
    rows = np.concatenate([own, others])[order]
    is_own = order < len(own)
    _, sizes = np.unique(stratum, return_counts=True)
    return Ranking(rows, tuple(sizes.tolist()), list(_queries(pairing, rows, is_own)))


def _queries(
    pairing: Pairing, rows: Codes, is_own: Bool[np.ndarray, " e"]
) -> Iterator[tuple[int, Codes, Codes]]:
    for query in np.flatnonzero(is_own).tolist():
        positives = is_own & pairing.may_be_positives(rows[query], rows)
        negatives = ~is_own & pairing.may_be_negatives(rows[query], rows)
        if positives.any() and negatives.any():
            yield query, np.flatnonzero(positives), np.flatnonzero(negatives)


@lru_cache(maxsize=64)  # groups of the same size share their exchanges, which take long to draw
def exchanges(strata: tuple[int, ...], draws: int, seed: int) -> Int[np.ndarray, "e draws_and_one"]:
    """Return the order of the profiles as it is, then random ones, each within its stratum."""
    keys = np.random.default_rng([seed, *strata]).random((draws, sum(strata)))
    # Strata are adjacent, so that sorting by stratum + key moves no profile out of its own.
    orders = np.argsort(keys + np.repeat(np.arange(len(strata)), strata), axis=1)
    # Draws are the last axis, along which numpy counts fastest.
    return np.vstack([np.arange(orders.shape[1]), orders]).T.astype(np.int16, order="C")


def mean_precision(
    cosines: Cosines,
    ranking: Ranking,
    orders: Int[np.ndarray, "e draws"],
    places: Int[np.ndarray, " e"],
) -> Float64[np.ndarray, " draws"]:
    """Return the mean average precision of the queries, with the profiles in each order.

    Profile i of an order is `orders[places[i]]`. Negatives that are at least as similar as a
    positive are not counted one by one: of the query's stratum, which was counted before, only the
    few profiles that are no negatives are taken off again.
    """
    as_high = count_as_high(cosines, ranking.strata)
    stratum = np.repeat(np.arange(len(ranking.strata)), ranking.strata)
    total = np.zeros(orders.shape[1])
    for query, positives, negatives in ranking.queries:
        is_other = stratum == stratum[query]
        is_other[query] = is_other[negatives] = False
        others = np.flatnonzero(is_other)
        # The pair of the query and another profile, as index of the flat matrices.
        first = orders[places[query]].astype(np.int32) * len(cosines)
        pairs = first + orders[places[positives]]
        right, in_stratum = cosines.take(pairs), as_high.take(pairs)
        if np.array_equal(others, positives):
            other = right
        else:
            other = cosines.take(first + orders[places[others]])
        precision = np.zeros_like(total)
        for score, all_as_high in zip(right, in_stratum, strict=True):
            right_as_high = (right >= score).sum(axis=0, dtype=np.int16)
            wrong_as_high = all_as_high - (other >= score).sum(axis=0, dtype=np.int16)
            precision += right_as_high / (right_as_high + wrong_as_high)
        total += precision / len(positives)
    return total / len(ranking.queries)


def count_as_high(cosines: Cosines, strata: tuple[int, ...]) -> Int[np.ndarray, "e e"]:
    """Return how many profiles are at least as similar to profile i as profile j is.

    Counted are those of the stratum of i, without i itself.
    """
    count = len(cosines)
    assert count < 1 << _INDEX_BITS
    # The similarity in descending order, and the index of j, as one number: numpy sorts numbers of
    # 32 bits many times as fast as it finds the order of numbers.
    keys = (_UNITS + 1 - cosines) << _INDEX_BITS
    keys |= np.arange(count, dtype=np.int32)
    keys.sort(axis=1)
    index = (keys & ((1 << _INDEX_BITS) - 1)).astype(np.intp)
    keys >>= _INDEX_BITS
    # Equal ones count for each other: the count is that of the last one of a run.
    last = np.full(keys.shape, count - 1, dtype=np.int16)
    np.copyto(last[:, :-1], np.arange(count - 1), where=keys[:, 1:] != keys[:, :-1])
    last = np.minimum.accumulate(last[:, ::-1], axis=1)[:, ::-1]
    if len(strata) == 1:
        counted = last + np.int16(1)
    else:
        stratum = np.repeat(np.arange(len(strata), dtype=np.int16), strata)
        so_far = np.cumsum(stratum[index] == stratum[:, None], axis=1, dtype=np.int16)
        counted = np.take_along_axis(so_far, last.astype(np.intp), axis=1)
    found = np.empty_like(counted)
    np.put_along_axis(found, index, counted, axis=1)
    return found - (np.diagonal(cosines)[:, None] >= cosines)
