"""How well replicates agree: whether wells of one perturbation find each other across plates."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Shaped

_ROWS = 512  # wells whose cosines with all others are in memory at once


@dataclass(frozen=True)
class Agreement:
    """What the cosines between wells on different plates say."""

    wells: int
    """Wells that have a replicate on another plate."""
    nearest: float
    """Share of them whose nearest well on another plate is a replicate."""
    chance: float
    """The share that a well drawn from the other plates would give."""
    replicates: float
    """Mean cosine of replicates on different plates."""
    others: float | None
    """Mean cosine of wells of different perturbations on different plates; None without such."""


def measure_agreement(
    features: Float64[np.ndarray, "n d"],
    perturbations: Shaped[np.ndarray, " n"],
    plates: Shaped[np.ndarray, " n"],
) -> Agreement | None:
    """Return how well replicates agree; None where none has another on another plate."""
    unit = _unit_rows(features)
    names = np.unique(perturbations, return_inverse=True)[1]
    homes = np.unique(plates, return_inverse=True)[1]
    hits, chances = [], []
    sums, counts = np.zeros(2), np.zeros(2)
    for start in range(0, len(unit), _ROWS):
        rows = slice(start, start + _ROWS)
        cosines = unit[rows] @ unit.T
        elsewhere = homes[rows, None] != homes
        same = elsewhere & (names[rows, None] == names)
        paired = same.any(axis=1)
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
    return Agreement(len(hit), float(hit.mean()), float(chance.mean()), replicates, others)


def _unit_rows(features: Float64[np.ndarray, "n d"]) -> Float64[np.ndarray, "n d"]:
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.where(lengths > 0, lengths, 1.0)
