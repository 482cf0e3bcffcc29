"""How much of a clustering comes back with other seeds of the algorithm.

It says how definite the clusters are for this graph, not whether other wells would give them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import polars as pl
from jaxtyping import Float64, Int

Labels = Int[np.ndarray, " g"]
STABLE, DISSOLVED = 0.75, 0.5
"""Mean Jaccard of clusters that come back, at least, and of those that do not, less than (Hennig
2007, Computational Statistics & Data Analysis 52, section 4, for resampled data)."""


@dataclass(frozen=True)
class Stability:
    """How much of the first of several clusterings is in the others; NaN if there are none."""

    names: Float64[np.ndarray, " g"]
    """Share of the other members of its cluster that each row is with in another clustering, mean
    over them; NaN for the only member of a cluster."""
    clusters: Float64[np.ndarray, " c"]
    """Jaccard similarity of each cluster and the most similar one of another clustering, mean over
    them."""
    pairs: pl.DataFrame
    """Columns first, second, adjusted_rand: of each pair of clusterings, by number."""


def measure_stability(labels: Sequence[Labels]) -> Stability:
    """Compare the first of several clusterings of the same rows with the others."""
    from sklearn.metrics import adjusted_rand_score

    first, others = labels[0], labels[1:]
    sizes = np.bincount(first)
    together, similar = np.zeros(len(first)), np.zeros(len(sizes))
    for other in others:
        shared = np.zeros((len(sizes), other.max() + 1), dtype=np.int64)
        np.add.at(shared, (first, other), 1)
        together += shared[first, other] - 1
        union = sizes[:, None] + np.bincount(other) - shared
        similar += (shared / union).max(axis=1)
    rand = [
        (one, two, float(adjusted_rand_score(labels[one], labels[two])))
        for one, two in combinations(range(len(labels)), 2)
    ]
    schema = {"first": pl.Int64, "second": pl.Int64, "adjusted_rand": pl.Float64}
    with np.errstate(invalid="ignore"):  # 0 / 0 without others, or without other members
        return Stability(
            together / ((sizes[first] - 1) * len(others)),
            similar / len(others) if others else np.full(len(sizes), np.nan),
            pl.DataFrame(rand, schema, orient="row"),
        )
