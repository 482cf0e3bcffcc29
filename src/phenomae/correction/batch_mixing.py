"""How well batches mix: how often a well's nearest neighbours have the same batch.

A k-nearest-neighbour vote without training, so that it measures the features and not a classifier.
"""

import numpy as np
from jaxtyping import Float64, Int, Shaped

NEIGHBOURS = 5
_SHUFFLES = 20


def batch_accuracy(
    features: Float64[np.ndarray, "n d"], batches: Shaped[np.ndarray, " n"]
) -> tuple[float, float]:
    """Return the accuracy of predicting a well's batch from its neighbours, and that of chance.

    The five nearest other wells by cosine vote; if several batches have the same number of votes,
    the one with the nearest well wins. Chance is the mean over 20 shuffles of the batches among
    the wells, with the same neighbours and the same vote.
    """
    from sklearn.neighbors import NearestNeighbors  # slow to import, and only used to diagnose

    assert len(features) > 1
    codes = np.unique(batches, return_inverse=True)[1]
    count = min(NEIGHBOURS, len(features) - 1)
    # Brute force: no search tree works with cosines, and there are at most 2,000 wells.
    search = NearestNeighbors(n_neighbors=count, metric="cosine", algorithm="brute").fit(features)
    nearest = search.kneighbors(return_distance=False)
    shuffled = (np.random.default_rng([0, index]).permutation(codes) for index in range(_SHUFFLES))
    chance = np.mean([_accuracy(nearest, draw) for draw in shuffled])
    return _accuracy(nearest, codes), float(chance)


def _accuracy(nearest: Int[np.ndarray, "n k"], codes: Int[np.ndarray, " n"]) -> float:
    votes = codes[nearest]
    counts = (votes[:, :, None] == votes[:, None, :]).sum(axis=2)
    winner = counts.argmax(axis=1)  # the first maximum is the nearest neighbour's batch
    return float((votes[np.arange(len(votes)), winner] == codes).mean())
