"""Null distribution of recall: the same known pairs on a map with permuted gene names."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float64, Int, UInt8

from phenomae.evaluation.recall.cosines import Pairs, is_marked

Strata = Int[np.ndarray, " g"] | None
"""Stratum of each row of the map, within which names are permuted; None if there is one stratum."""


def shuffled_recalls(
    marks: UInt8[np.ndarray, "g eighth_of_g"],
    pairs: Pairs,
    shuffles: int,
    seed: int,
    strata: Strata = None,
    valued: UInt8[np.ndarray, "g eighth_of_g"] | None = None,
    chance: Callable[[Pairs], float] | None = None,
) -> Float64[np.ndarray, " shuffles"]:
    """Return the recall of the pairs under each permutation of the names of the rows.

    `marks` are the bits of the pairs of rows in the tails (`cosines.mark_tails`), `valued` those of
    the pairs that have a value, where not all have one. With `chance`, which returns the recall
    that such pairs have by chance, recalls are minus that of the permuted pairs. Permutation k
    depends on `seed`, k and `strata` alone; its recall is NaN if none of the pairs has a value.
    """
    # A permutation of names does not change the cosines, so their tails are computed once.
    recalls = np.empty(shuffles)
    for k in range(shuffles):
        names = shuffle_rows(len(marks), np.random.default_rng([seed, k]), strata)
        permuted = names[pairs]
        if valued is not None:
            permuted = permuted[is_marked(valued, permuted)]
        recalls[k] = is_marked(marks, permuted).mean() if len(permuted) else np.nan
        if chance is not None and len(permuted):
            recalls[k] -= chance(permuted)
    return recalls


def shuffle_rows(
    count: int, rng: np.random.Generator, strata: Strata = None
) -> Int[np.ndarray, " g"]:
    """Return a random permutation of the rows that keeps every row within its stratum."""
    if strata is None:
        return rng.permutation(count)
    # Both sorts list the rows stratum by stratum, the second in random order within each stratum.
    shuffled = np.empty(count, dtype=np.int64)
    shuffled[np.argsort(strata, kind="stable")] = np.lexsort((rng.random(count), strata))
    return shuffled


def degree_strata(pairs: Pairs, count: int) -> Int[np.ndarray, " g"]:
    """Return strata of the rows by their number of known pairs: 0, 1, 2-3, 4-7, ..."""
    # Hubs (genes in many pairs) are then exchanged with hubs only, so the null
    # distribution includes the effect of a few hubs on recall.
    degrees = np.bincount(pairs.ravel(), minlength=count)
    # The binary exponent of frexp is the stratum: 0 for 0, 1 for 1, 2 for 2-3, 3 for 4-7.
    return np.frexp(degrees)[1].astype(np.int64)
