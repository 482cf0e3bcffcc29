"""MODZ: replicates are weighted by how much they agree with each other.

pycytominer's version rounds the weights to four digits; this one does not.
"""

import numpy as np
from jaxtyping import Float, Float64, Int

MIN_AGREEMENT = (
    0.01  # as in pycytominer: a replicate that disagrees with all others still counts a little
)
_ROWS_AT_ONCE = 512  # of the correlation matrix: that of all control wells could fill the memory


def agreement_weights(
    values: Float[np.ndarray, "n d"], groups: Int[np.ndarray, " n"], count: int
) -> Float64[np.ndarray, " n"]:
    """Return the weight of each row among those of its group 0 ... count - 1; they sum to 1.

    MODZ (Subramanian et al. 2017, STAR Methods; pycytominer's `modz`): the weight of a row is
    proportional to the mean of its Spearman correlations with the other rows of its group, with
    negative ones set to 0, and at least 0.01. A single row has weight 1; two have equal weights.
    """
    weights = np.empty(len(values))
    for rows in rows_of_groups(groups, count):
        # With the minimum, weights never sum to 0, even if all replicates disagree.
        agreement = np.maximum(_mean_agreement(values[rows]), MIN_AGREEMENT)
        weights[rows] = agreement / agreement.sum()
    return weights


def rows_of_groups(groups: Int[np.ndarray, " n"], count: int) -> list[Int[np.ndarray, " k"]]:
    """Return the rows of each group 0 ... count - 1, in their order."""
    ends = np.cumsum(np.bincount(groups, minlength=count))
    return np.split(np.argsort(groups, kind="stable"), ends[:-1])


def _mean_agreement(rows: Float[np.ndarray, "k d"]) -> Float64[np.ndarray, " k"]:
    """Return each row's mean Spearman correlation with the others, negative ones set to 0."""
    if len(rows) < 2:
        return np.ones(len(rows))
    from scipy.stats import rankdata  # takes a quarter of `map` to import; only weighted needs it

    ranks = rankdata(rows, axis=1)
    ranks -= ranks.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(ranks, axis=1, keepdims=True)
    # A constant row has no rank order: it correlates with nothing, not even with itself.
    unit = np.divide(ranks, lengths, out=np.zeros_like(ranks), where=lengths > 0)
    own = (lengths[:, 0] > 0).astype(np.float64)
    totals = np.empty(len(rows))
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        block = slice(start, start + _ROWS_AT_ONCE)
        totals[block] = np.maximum(unit[block] @ unit.T, 0).sum(axis=1)
    return (totals - own) / (len(rows) - 1)
