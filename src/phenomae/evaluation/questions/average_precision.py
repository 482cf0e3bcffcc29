"""Average precision: how high in a list the right ones stand, and what a random order gives."""

import numpy as np
from jaxtyping import Float64


def average_precisions(
    right: Float64[np.ndarray, " a"], wrong: Float64[np.ndarray, "samples m"]
) -> Float64[np.ndarray, " samples"]:
    """Return the average precision of the right ones among each sample of wrong ones, by score.

    At each right one's score, precision is the share of right ones among all that score as much or
    more; average precision is the mean of these (as scikit-learn defines it, ties included).
    """
    as_high = (right >= right[:, None]).sum(axis=1)
    wrong_as_high = np.stack([(wrong >= score).sum(axis=1) for score in right], axis=1)
    return (as_high / (as_high + wrong_as_high)).mean(axis=1)


def chance_precision(right: int, wrong: int) -> float:
    """Return the expected average precision of a random order (all orders of labels alike).

    With a right ones among n, a place i of the list holds a right one with the chance a / n, and
    before it stand (i - 1) (a - 1) / (n - 1) others in the mean. So it is the mean over i of
    (1 + (i - 1) (a - 1) / (n - 1)) / i.
    """
    assert right > 0
    count = right + wrong
    if count == 1:
        return 1.0
    place = np.arange(1, count + 1)
    return float(((1 + (place - 1) * (right - 1) / (count - 1)) / place).mean())
