"""How well batches mix: whether a well's neighbours tell its batch."""

import numpy as np
from jaxtyping import Float64, Int, Shaped

NEIGHBOURS = 5
_SHUFFLES = 20


def batch_accuracy(
    features: Float64[np.ndarray, "n d"], batches: Shaped[np.ndarray, " n"]
) -> tuple[float, float]:
    """Return how often the wells nearest by cosine tell a well's batch, and how often by chance.

    Every well is left out of its own neighbours. The five nearest vote; where batches have as many
    votes, the one that holds the nearest of them wins. Chance is the mean over 20 shuffles of the
    batches among the wells, with the same neighbours and the same vote.
    """
    from sklearn.neighbors import NearestNeighbors  # slow to import, and seldom asked for

    assert len(features) > 1
    codes = np.unique(batches, return_inverse=True)[1]
    count = min(NEIGHBOURS, len(features) - 1)
    search = NearestNeighbors(n_neighbors=count, metric="cosine", algorithm="brute").fit(features)
    nearest = search.kneighbors(return_distance=False)
    shuffled = (np.random.default_rng([0, index]).permutation(codes) for index in range(_SHUFFLES))
    chance = np.mean([_accuracy(nearest, draw) for draw in shuffled])
    return _accuracy(nearest, codes), float(chance)


def _accuracy(nearest: Int[np.ndarray, "n k"], codes: Int[np.ndarray, " n"]) -> float:
    votes = codes[nearest]
    counts = (votes[:, :, None] == votes[:, None, :]).sum(axis=2)
    winner = counts.argmax(axis=1)  # the first of the largest: the nearest neighbour's
    return float((votes[np.arange(len(votes)), winner] == codes).mean())
