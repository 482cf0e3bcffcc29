"""Measures how well batches mix, as the accuracy of predicting a well's batch from its neighbors.

The prediction is a k-nearest-neighbor vote: no classifier is trained, so the accuracy depends on
the features only.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int, Shaped

NEIGHBORS = 5
_SHUFFLES = 20  # the mean accuracy of 20 shuffles varies much less than that of one
ROWS = 512  # rows of the cosine matrix per block, to bound memory


@dataclass(frozen=True)
class Predicted:
    """Labels of wells as their nearest neighbors predict them."""

    right: Bool[np.ndarray, " n"]
    """Whether the neighbors of each well predict its label."""
    chance: float
    """Mean accuracy with permuted labels."""

    @property
    def accuracy(self) -> float:
        """Fraction of wells whose label is predicted."""
        return float(self.right.mean())


def predict_labels(
    features: Float64[np.ndarray, "n d"],
    labels: Shaped[np.ndarray, " n"],
    apart: Shaped[np.ndarray, " n"] | None = None,
) -> Predicted:
    """Predict the label of each well, such as its batch, from its neighbors.

    The five other wells with the highest cosine vote for their label; a tie is won by the label of
    the nearest well among the tied labels. With `apart`, wells with the same code in it are no
    neighbors of each other. The chance level is the mean accuracy over 20 random permutations of
    the labels (within the codes of `apart`), with the same neighbors and the same vote.
    """
    assert len(features) > 1
    codes = np.unique(labels, return_inverse=True)[1]
    homes = None if apart is None else np.unique(apart, return_inverse=True)[1]
    nearest = _nearest(features, homes)
    shuffled = (_shuffle(codes, homes, index) for index in range(_SHUFFLES))
    chance = np.mean([_vote(nearest, draw).mean() for draw in shuffled])
    return Predicted(_vote(nearest, codes), float(chance))


def unit_or_zero(features: Float64[np.ndarray, "n d"]) -> Float64[np.ndarray, "n d"]:
    """Return the rows scaled to length 1; a row of zeros stays, with the cosine 0 and not NaN."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.where(lengths > 0, lengths, 1.0)


def _nearest(
    features: Float64[np.ndarray, "n d"], homes: Int[np.ndarray, " n"] | None
) -> Int[np.ndarray, "n k"]:
    """Return the five nearest wells of each, the nearest first."""
    unit = unit_or_zero(features)
    count = min(NEIGHBORS, len(unit) - 1)
    if homes is not None:  # as many as the well with the fewest candidates has
        count = min(count, len(unit) - int(np.bincount(homes).max()))
    found = []
    for start in range(0, len(unit), ROWS):
        rows = np.arange(start, min(start + ROWS, len(unit)))
        cosines = unit[rows] @ unit.T
        cosines[np.arange(len(rows)), rows] = -np.inf
        if homes is not None:
            cosines[homes[rows, None] == homes] = -np.inf
        near = np.argpartition(-cosines, count - 1, axis=1)[:, :count]
        order = np.argsort(-np.take_along_axis(cosines, near, axis=1), axis=1, kind="stable")
        found.append(np.take_along_axis(near, order, axis=1))
    return np.concatenate(found)


def _shuffle(
    codes: Int[np.ndarray, " n"], homes: Int[np.ndarray, " n"] | None, index: int
) -> Int[np.ndarray, " n"]:
    rng = np.random.default_rng([0, index])
    if homes is None:
        return rng.permutation(codes)
    drawn = codes.copy()
    for home in range(int(homes.max()) + 1):
        rows = np.flatnonzero(homes == home)
        drawn[rows] = codes[rng.permutation(rows)]
    return drawn


def _vote(nearest: Int[np.ndarray, "n k"], codes: Int[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """Return whether the vote of the neighbors is each well's own code."""
    votes = codes[nearest]
    counts = (votes[:, :, None] == votes[:, None, :]).sum(axis=2)
    # argmax returns the first maximum, which belongs to the nearest of the tied neighbors.
    winner = counts.argmax(axis=1)
    return votes[np.arange(len(votes)), winner] == codes
