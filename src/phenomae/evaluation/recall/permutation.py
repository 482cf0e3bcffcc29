"""What recall is by luck: the same known pairs on a map whose names are shuffled."""

import numpy as np
from jaxtyping import Float64, Int, UInt8

from phenomae.evaluation.recall.cosines import Pairs, is_marked

Strata = Int[np.ndarray, " g"] | None
"""Every row's stratum: names are shuffled within strata. None where any name may go anywhere."""


def shuffled_recalls(
    marks: UInt8[np.ndarray, "g eighth_of_g"],
    pairs: Pairs,
    shuffles: int,
    seed: int,
    strata: Strata = None,
) -> Float64[np.ndarray, " shuffles"]:
    """Return the recall of the pairs when the names of the rows are shuffled, once a shuffle.

    `marks` says which pairs of rows lie in the tails (`cosines.mark_tails`). The shuffle number k
    depends on `seed` and k alone.
    """
    recalls = np.empty(shuffles)
    for k in range(shuffles):
        names = shuffle_rows(len(marks), np.random.default_rng([seed, k]), strata)
        recalls[k] = is_marked(marks, names[pairs]).mean()
    return recalls


def shuffle_rows(
    count: int, rng: np.random.Generator, strata: Strata = None
) -> Int[np.ndarray, " g"]:
    """Return a random order of the rows, in which each stays within its stratum."""
    if strata is None:
        return rng.permutation(count)
    shuffled = np.empty(count, dtype=np.int64)
    shuffled[np.argsort(strata, kind="stable")] = np.lexsort((rng.random(count), strata))
    return shuffled


def degree_strata(pairs: Pairs, count: int) -> Int[np.ndarray, " g"]:
    """Return the rows' strata by the number of known pairs they are in: 0, 1, 2-3, 4-7, ...

    A gene that many pairs name (a hub) then changes places with other hubs only, so that a recall
    which hubs alone account for is not called significant.
    """
    degrees = np.bincount(pairs.ravel(), minlength=count)
    return np.frexp(degrees)[1].astype(np.int64)
