"""Splits known pairs of genes into two halves that share no gene.

What is chosen by the recall of one half can be reported by the recall of the other.
"""

import numpy as np
from jaxtyping import Int
from scipy import sparse

from phenomae.evaluation.recall.cosines import Pairs

MIN_PAIRS = 10  # of a half: the recall of fewer pairs says nothing
LARGEST_GROUP = 0.1
"""Groups of connected genes stay together if they have at most this fraction of the genes."""


def split_pairs(pairs: Pairs, seed: int) -> tuple[Pairs, Pairs]:
    """Return the pairs of two halves of the genes; pairs between the halves are in neither.

    Genes that pairs connect, such as those of a complex, are in one half, unless the group has more
    than a tenth of the genes, as in a network of interactions: then each of its genes is a group of
    its own. Groups are taken in random order, each into the half with fewer genes. The same pairs
    and seed give the same halves. Raises ValueError if a half has fewer than 10 pairs.
    """
    genes, codes = np.unique(pairs, return_inverse=True)
    known = codes.reshape(pairs.shape)
    groups = _find_groups(known, len(genes))
    half = _assign(groups, np.random.default_rng(seed).permutation(groups.max() + 1))
    ends = half[known]
    parts = [pairs[(ends == number).all(axis=1)] for number in (0, 1)]
    if min(map(len, parts)) < MIN_PAIRS:
        raise ValueError(
            f"{len(pairs)} known pairs are on the map, of which halves that share no gene have "
            f"{len(parts[0])} and {len(parts[1])}: give annotations that leave at least "
            f"{MIN_PAIRS} pairs to each half"
        )
    return parts[0], parts[1]


def _find_groups(known: Int[np.ndarray, "pairs 2"], count: int) -> Int[np.ndarray, " genes"]:
    """Return the group of each gene, as numbers from 0 without gaps."""
    links = sparse.coo_array((np.ones(len(known)), known.T), shape=(count, count))
    groups = np.asarray(sparse.csgraph.connected_components(links, directed=False)[1])
    is_large = np.bincount(groups) > max(2, LARGEST_GROUP * count)
    alone = is_large[groups]
    own = np.where(alone, groups.max() + np.cumsum(alone), groups)
    return np.unique(own, return_inverse=True)[1]


def _assign(
    groups: Int[np.ndarray, " genes"], order: Int[np.ndarray, " groups"]
) -> Int[np.ndarray, " genes"]:
    """Return the half, 0 or 1, of each gene."""
    sizes: list[int] = np.bincount(groups).tolist()
    half_of, filled = np.zeros(len(sizes), dtype=np.int64), [0, 0]
    for group in order.tolist():
        half = int(filled[1] < filled[0])
        half_of[group] = half
        filled[half] += sizes[group]
    return half_of[groups]
