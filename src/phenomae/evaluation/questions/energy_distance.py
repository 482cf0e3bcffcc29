"""Energy distance: how far the wells of a perturbation lie from control wells.

Szekely & Rizzo 2013, with means over all pairs, a vector with itself counted: for samples x and y
2 E|x - y| - E|x - x'| - E|y - y'|. It is 0 where both are the same, and grows with the distances.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int
from scipy.spatial.distance import cdist, pdist, squareform

from phenomae.maps.modz import rows_of_groups

_CELLS = 1 << 22  # distances held at once: 32 MB


def mean_distances(
    features: Float[np.ndarray, "n d"], reference: Float64[np.ndarray, "m d"]
) -> Float64[np.ndarray, " n"]:
    """Return every vector's mean Euclidean distance to the reference, block by block."""
    rows = max(1, _CELLS // len(reference))
    blocks = [features[start : start + rows] for start in range(0, len(features), rows)]
    means = [cdist(block.astype(np.float64), reference).mean(axis=1) for block in blocks]
    return np.concatenate([np.empty(0), *means])


def mean_within(features: Float[np.ndarray, "n d"]) -> float:
    """Return the mean distance over all ordered pairs, each vector with itself counted as 0."""
    return float(mean_distances(features, features.astype(np.float64)).mean())


def energy_distances(
    features: Float[np.ndarray, "n d"],
    groups: Int[np.ndarray, " n"],
    count: int,
    reference: Float64[np.ndarray, "m d"],
    least_wells: int = 5,
) -> Float64[np.ndarray, " g"]:
    """Return the energy distance of each group 0 ... count - 1 to the reference.

    A well of group -1 is in none; NaN where a group has fewer than `least_wells` wells.
    """
    inside = np.flatnonzero(groups >= 0)
    energies, spread = np.full(count, np.nan), mean_within(reference)
    for group, rows in enumerate(rows_of_groups(groups[inside], count)):
        if len(rows) >= least_wells:
            wells = features[inside[rows]]
            between = mean_distances(wells, reference).mean()
            energies[group] = 2.0 * between - mean_within(wells) - spread
    return energies


@dataclass(frozen=True)
class DrawnEnergies:
    """Energy distances to the reference of groups of a pool's rows, each distance computed once."""

    to_reference: Float64[np.ndarray, " k"]
    among: Float64[np.ndarray, "k k"]
    spread: float
    """The reference's own mean distance."""

    @classmethod
    def of(
        cls, pool: Float[np.ndarray, "k d"], reference: Float64[np.ndarray, "m d"]
    ) -> "DrawnEnergies":
        """Compute the distances among the rows of `pool` and from them to `reference`."""
        among = squareform(pdist(pool.astype(np.float64)))
        return cls(mean_distances(pool, reference), among, mean_within(reference))

    def energies(self, drawn: Int[np.ndarray, "draws size"]) -> Float64[np.ndarray, " draws"]:
        """Return the energy distance of each group, as `energy_distances` would."""
        between = self.to_reference[drawn].mean(axis=1)
        within = np.zeros(len(drawn))
        for column in drawn.T:  # one row of every group at a time: never draws x size x size
            within += self.among[drawn, column[:, None]].sum(axis=1)
        return 2.0 * between - within / drawn.shape[1] ** 2 - self.spread
