"""Average precision as scikit-learn defines it, and its expectation for a random ranking."""

import numpy as np
from jaxtyping import Float64


def average_precisions(
    right: Float64[np.ndarray, " a"], wrong: Float64[np.ndarray, "samples m"]
) -> Float64[np.ndarray, " samples"]:
    """Return the average precision of the scores `right` among each sample of scores `wrong`.

    Precision at a right item is the fraction of right items among all items with at least its
    score; average precision is the mean of these precisions over the right items. Ties are
    treated as in scikit-learn.
    """
    # One pass over the samples per right item, because a compound has few right items, and sorting
    # every sample would need extra code for ties.
    as_high = (right >= right[:, None]).sum(axis=1)
    wrong_as_high = np.stack([(wrong >= score).sum(axis=1) for score in right], axis=1)
    return (as_high / (as_high + wrong_as_high)).mean(axis=1)


def chance_precision(right: int, wrong: int) -> float:
    """Return the expected average precision of a random ranking.

    With a right items among n, the item at position i is right with probability a / n, and then
    (i - 1) (a - 1) / (n - 1) of the items before it are right on average. The expectation is
    therefore the mean over i of (1 + (i - 1) (a - 1) / (n - 1)) / i.
    """
    assert right > 0
    count = right + wrong
    if count == 1:
        return 1.0
    position = np.arange(1, count + 1)
    return float(((1 + (position - 1) * (right - 1) / (count - 1)) / position).mean())
