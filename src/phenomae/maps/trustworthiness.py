"""How far points in a plane can be trusted: are near points near among the profiles, too?

Trustworthiness is that of Venna & Kaski (2001): 1 if the k nearest points of each point are its k
nearest profiles, and less the later they come among its nearest profiles.
"""

import numpy as np
from jaxtyping import Float, Float64

from phenomae.maps.cosine_blocks import Cosines, over_blocks


def measure_trustworthiness(
    unit: Float64[np.ndarray, "n d"], points: Float[np.ndarray, "n 2"], k: int
) -> float:
    """Return the trustworthiness of points for profiles of length 1, compared by their cosines.

    As `sklearn.manifold.trustworthiness`, of all rows, but without a matrix of all distances. `k`
    is less than half the number of rows.
    """
    from sklearn.neighbors import NearestNeighbors

    count = len(unit)
    assert 0 < k < count / 2
    search = NearestNeighbors(n_neighbors=k).fit(points.astype(np.float64))
    near = search.kneighbors(return_distance=False)

    def penalty(first: int, cosines: Cosines) -> int:
        total = 0
        for others in near[first : first + len(cosines)].T:
            its = np.take_along_axis(cosines, others[:, None], axis=1)
            ranks = 1 + np.count_nonzero(cosines > its, axis=1)
            total += int(np.maximum(ranks - k, 0).sum())
        return total

    return 1 - 2 * sum(over_blocks(unit, penalty)) / (count * k * (2 * count - 3 * k - 1))


def expected_by_chance(count: int, k: int) -> float:
    """Return the mean trustworthiness of points that are assigned to `count` rows at random.

    The rank of a near point among the nearest profiles is then any of 1 to count - 1.
    """
    return 1 - (count - 1 - k) * (count - k) / ((count - 1) * (2 * count - 3 * k - 1))
