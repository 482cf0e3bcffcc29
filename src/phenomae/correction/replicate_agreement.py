"""Measures replicate agreement: whether wells of one perturbation are similar across plates.

Only pairs of wells on different plates are compared, because wells of the same plate are similar
for technical reasons.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Shaped

from phenomae.correction.batch_mixing import ROWS, unit_or_zero


@dataclass(frozen=True)
class Agreement:
    """Statistics of the cosines between perturbed wells on different plates."""

    wells: int
    """Number of wells that have a replicate on another plate."""
    hits: Bool[np.ndarray, " wells"]
    """Whether the nearest well on another plate is a replicate, for each of these wells."""
    chance: float
    """Chance level of `nearest`: the fraction expected for a random well of another plate."""
    replicates: float
    """Mean cosine between replicates on different plates."""
    others: float | None
    """Mean cosine between wells of different perturbations on different plates; None without any
    such pair."""

    @property
    def nearest(self) -> float:
        """Fraction of these wells whose nearest well on another plate is a replicate."""
        return float(self.hits.mean())


def measure_agreement(
    features: Float64[np.ndarray, "n d"],
    perturbations: Shaped[np.ndarray, " n"],
    plates: Shaped[np.ndarray, " n"],
) -> Agreement | None:
    """Return the replicate agreement of the wells; None if no perturbation is on two plates."""
    unit = unit_or_zero(features)
    names = np.unique(perturbations, return_inverse=True)[1]
    homes = np.unique(plates, return_inverse=True)[1]
    hits, chances = [], []
    sums, counts = np.zeros(2), np.zeros(2)
    for start in range(0, len(unit), ROWS):
        rows = slice(start, start + ROWS)
        cosines = unit[rows] @ unit.T
        elsewhere = homes[rows, None] != homes
        same = elsewhere & (names[rows, None] == names)
        paired = same.any(axis=1)
        # -inf excludes wells of the same plate, and so the well itself, as nearest neighbour.
        nearest = np.where(elsewhere, cosines, -np.inf).argmax(axis=1)
        hits.append((names[nearest] == names[rows])[paired])
        chances.append((same.sum(axis=1) / np.maximum(elsewhere.sum(axis=1), 1))[paired])
        for kind, pairs in enumerate((same, elsewhere & ~same)):
            sums[kind] += cosines[pairs].sum()
            counts[kind] += pairs.sum()
    if not sum(map(len, hits)):
        return None
    hit, chance = np.concatenate(hits), np.concatenate(chances)
    replicates, others = (sums / np.maximum(counts, 1)).tolist()
    if not counts[1]:
        others = None
    return Agreement(len(hit), hit, float(chance.mean()), replicates, others)
