"""MODZ: weights replicates by their mean correlation with the other replicates.

Unlike pycytominer's implementation, the weights are not rounded to four digits.
"""

import numpy as np
from jaxtyping import Float, Float64, Int

# As in pycytominer: a replicate without any positive correlation still has a small weight.
MIN_AGREEMENT = 0.01
# Rows of the correlation matrix per block: the full matrix of all control wells may not fit into
# memory.
_ROWS_AT_ONCE = 512


def agreement_weights(
    values: Float[np.ndarray, "n d"], groups: Int[np.ndarray, " n"], count: int
) -> Float64[np.ndarray, " n"]:
    """Return the weight of each row in its group 0 ... count - 1; a group's weights sum to 1.

    MODZ (Subramanian et al. 2017, STAR Methods; pycytominer's `modz`): a row's agreement is the
    mean of its Spearman correlations with the other rows of its group, where negative correlations
    count as 0, and at least 0.01. Weights are proportional to the agreement. The row of a group of
    one has weight 1; the rows of a group of two have equal weights.
    """
    weights = np.empty(len(values))
    for rows in rows_of_groups(groups, count):
        # The minimum keeps the sum of the weights above 0 even if all replicates disagree.
        agreement = np.maximum(_mean_agreement(values[rows]), MIN_AGREEMENT)
        weights[rows] = agreement / agreement.sum()
    return weights


def rows_of_groups(groups: Int[np.ndarray, " n"], count: int) -> list[Int[np.ndarray, " k"]]:
    """Return the row numbers of each group 0 ... count - 1, in ascending order."""
    ends = np.cumsum(np.bincount(groups, minlength=count))
    return np.split(np.argsort(groups, kind="stable"), ends[:-1])


def _mean_agreement(rows: Float[np.ndarray, "k d"]) -> Float64[np.ndarray, " k"]:
    """Return each row's mean Spearman correlation with the other rows; negative ones count as 0."""
    if len(rows) < 2:
        return np.ones(len(rows))
    from scipy.stats import rankdata  # a quarter of `map`'s run time, needed for weighted only

    # A Spearman correlation is the Pearson correlation of ranks: the cosine of centred ranks.
    ranks = rankdata(rows, axis=1)
    ranks -= ranks.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(ranks, axis=1, keepdims=True)
    # A constant row has no rank order: its correlation with every row, itself included, is 0.
    unit = np.divide(ranks, lengths, out=np.zeros_like(ranks), where=lengths > 0)
    own = (lengths[:, 0] > 0).astype(np.float64)
    totals = np.empty(len(rows))
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        block = slice(start, start + _ROWS_AT_ONCE)
        totals[block] = np.maximum(unit[block] @ unit.T, 0).sum(axis=1)
    return (totals - own) / (len(rows) - 1)
