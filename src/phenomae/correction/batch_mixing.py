"""Measures how well batches mix, as the accuracy of predicting a well's batch from its neighbours.

The prediction is a k-nearest-neighbour vote: no classifier is trained, so the accuracy depends on
the features only.
"""

import numpy as np
from jaxtyping import Float64, Int, Shaped

NEIGHBOURS = 5
_SHUFFLES = 20  # the mean accuracy of 20 shuffles varies much less than that of one


def batch_accuracy(
    features: Float64[np.ndarray, "n d"], batches: Shaped[np.ndarray, " n"]
) -> tuple[float, float]:
    """Return the accuracy of predicting a well's batch from its neighbours, and the chance level.

    The five other wells with the highest cosine vote for their batch; a tie is won by the batch of
    the nearest well among the tied batches. The chance level is the mean accuracy over 20 random
    permutations of the batch labels, with the same neighbours and the same vote.
    """
    from sklearn.neighbors import NearestNeighbors  # slow to import, and only --diagnose needs it

    assert len(features) > 1
    codes = np.unique(batches, return_inverse=True)[1]
    count = min(NEIGHBOURS, len(features) - 1)
    # Brute force: scikit-learn's search trees do not support cosine distance, and the diagnosis
    # samples at most 2,000 wells.
    search = NearestNeighbors(n_neighbors=count, metric="cosine", algorithm="brute").fit(features)
    nearest = search.kneighbors(return_distance=False)
    shuffled = (np.random.default_rng([0, index]).permutation(codes) for index in range(_SHUFFLES))
    chance = np.mean([_accuracy(nearest, draw) for draw in shuffled])
    return _accuracy(nearest, codes), float(chance)


def _accuracy(nearest: Int[np.ndarray, "n k"], codes: Int[np.ndarray, " n"]) -> float:
    votes = codes[nearest]
    counts = (votes[:, :, None] == votes[:, None, :]).sum(axis=2)
    # argmax returns the first maximum, which belongs to the nearest of the tied neighbours.
    winner = counts.argmax(axis=1)
    return float((votes[np.arange(len(votes)), winner] == codes).mean())
