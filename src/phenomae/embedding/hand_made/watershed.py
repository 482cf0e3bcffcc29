"""Seeded watershed of an image, computed by scipy as a minimum spanning forest.

scipy's own `watershed_ift` floods along the smallest step between neighbours, not the lowest pass:
in five fields of RxRx1 it labelled 13 to 46 % of the foreground otherwise than the watershed of
scikit-image, which is no dependency here. This one labelled at most 0.1 % otherwise.
"""

import numpy as np
from jaxtyping import Bool, Float, Int, Int32, Int64
from scipy import sparse
from scipy.sparse import csgraph


def watershed(
    relief: Float[np.ndarray, "h w"],
    seeds: Int[np.ndarray, "h w"],
    mask: Bool[np.ndarray, "h w"],
) -> Int32[np.ndarray, "h w"]:
    """Return, for each pixel of `mask`, the label of the seed whose flood reaches it first.

    Water rises from the pixels of `seeds` that are not 0, and flows between pixels that share an
    edge. The label is 0 outside the mask, and where no seed can be reached within it. Watersheds of
    a graph are minimum spanning forests rooted in the seeds (Cousty et al. 2009, IEEE Transactions
    on Pattern Analysis and Machine Intelligence 31, 1362).
    """
    source = relief.size  # a node beside those of the pixels, joined with every seed
    height = relief.ravel()
    inside, label = mask.ravel(), (seeds * mask).ravel()
    pixel = np.arange(source).reshape(relief.shape)
    first = np.concatenate([pixel[:, :-1].ravel(), pixel[:-1].ravel()])
    second = np.concatenate([pixel[:, 1:].ravel(), pixel[1:].ravel()])
    passable = inside[first] & inside[second]
    first, second, rooted = first[passable], second[passable], np.flatnonzero(label)
    weights = np.concatenate([_rank(height[first], height[second]), np.zeros(len(rooted))]) + 1
    ends = np.concatenate([first, rooted]), np.concatenate([second, np.full(len(rooted), source)])
    # Steps to the source are lowest, so that all are kept: without it each seed is a tree's root.
    graph = sparse.coo_array((weights, ends), shape=(source + 1, source + 1))
    forest = csgraph.minimum_spanning_tree(graph.tocsr()).tocoo()
    kept = (forest.row != source) & (forest.col != source)
    trees = sparse.coo_array(
        (forest.data[kept], (forest.row[kept], forest.col[kept])), shape=(source, source)
    )
    count, tree = csgraph.connected_components(trees, directed=False)
    label_of = np.zeros(count, dtype=np.int32)
    label_of[tree[rooted]] = label[rooted]
    return label_of[tree].reshape(relief.shape)


def _rank(
    first: Float[np.ndarray, " n"], second: Float[np.ndarray, " n"]
) -> Int64[np.ndarray, " n"]:
    """Return the ranks, from 1, of steps between pixels by their higher, then their lower end.

    So that a pixel of a ridge drains to its lowest neighbour.
    """
    order = np.lexsort((np.minimum(first, second), np.maximum(first, second)))
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = np.arange(1, len(order) + 1)
    return ranks
