"""Energy distance between the wells of a perturbation and control wells.

Szekely & Rizzo 2013: 2 E|x - y| - E|x - x'| - E|y - y'| for samples x and y. The expectations are
means over all pairs, including each vector paired with itself, so the distance between two equal
samples is 0.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int

from phenomae.maps.modz import rows_of_groups
from phenomae.progress import tracked

_CELLS = 1 << 22  # distances in memory at once: 32 MB
_LONG_WORK = 5000  # groups from which progress is shown, because they take over ten seconds


def mean_distances(
    features: Float[np.ndarray, "n d"], reference: Float64[np.ndarray, "m d"]
) -> Float64[np.ndarray, " n"]:
    """Return the mean Euclidean distance of every vector to the reference, block by block."""
    from scipy.spatial.distance import cdist  # imported here: --help loads no scipy

    rows = max(1, _CELLS // len(reference))
    blocks = [features[start : start + rows] for start in range(0, len(features), rows)]
    means = [cdist(block.astype(np.float64), reference).mean(axis=1) for block in blocks]
    return np.concatenate([np.empty(0), *means])


def mean_within(features: Float[np.ndarray, "n d"]) -> float:
    """Return the mean distance over all ordered pairs of rows, with 0 for a row and itself."""
    return float(mean_distances(features, features.astype(np.float64)).mean())


def energy_distances(
    features: Float[np.ndarray, "n d"],
    groups: Int[np.ndarray, " n"],
    count: int,
    reference: Float64[np.ndarray, "m d"],
    min_wells: int = 5,
) -> Float64[np.ndarray, " g"]:
    """Return the energy distance of each group 0 ... count - 1 to the reference.

    Wells with group -1 belong to no group. NaN for groups with fewer than `min_wells` wells.
    """
    inside = np.flatnonzero(groups >= 0)
    energies, spread = np.full(count, np.nan), mean_within(reference)
    each = enumerate(rows_of_groups(groups[inside], count))
    if count >= _LONG_WORK:
        each = tracked(each, "energy distances", count, "groups")
    for group, rows in each:
        if len(rows) >= min_wells:
            wells = features[inside[rows]]
            between = mean_distances(wells, reference).mean()
            energies[group] = 2.0 * between - mean_within(wells) - spread
    return energies


@dataclass(frozen=True)
class DrawnEnergies:
    """Energy distances from random groups of a pool of controls to the reference.

    All groups of the null distribution are drawn from the same pool, so each pairwise distance is
    computed once instead of once per draw.
    """

    to_reference: Float64[np.ndarray, " k"]
    """Mean distance of each row of the pool to the reference."""
    among: Float64[np.ndarray, "k k"]
    """Distances among the rows of the pool."""
    spread: float
    """Mean distance within the reference."""

    @classmethod
    def of(
        cls, pool: Float[np.ndarray, "k d"], reference: Float64[np.ndarray, "m d"]
    ) -> "DrawnEnergies":
        """Compute the distances among the rows of `pool` and from them to `reference`."""
        from scipy.spatial.distance import pdist, squareform

        among = squareform(pdist(pool.astype(np.float64)))
        return cls(mean_distances(pool, reference), among, mean_within(reference))

    def energies(self, drawn: Int[np.ndarray, "draws size"]) -> Float64[np.ndarray, " draws"]:
        """Return the energy distance of each group of pool rows, as `energy_distances` would."""
        between = self.to_reference[drawn].mean(axis=1)
        within = np.zeros(len(drawn))
        # One member of every group at a time: a gather of all pairs at once would take
        # draws x size x size distances in memory.
        for column in drawn.T:
            within += self.among[drawn, column[:, None]].sum(axis=1)
        return 2.0 * between - within / drawn.shape[1] ** 2 - self.spread
