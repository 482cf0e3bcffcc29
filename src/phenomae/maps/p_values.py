"""P-values: how often chance gives as much."""

import numpy as np
from jaxtyping import Float64

_ROUNDING = 1e-9  # numbers closer than this are the same: sums of another order differ in last bits


def p_values(
    observed: Float64[np.ndarray, " g"], null: Float64[np.ndarray, " draws"]
) -> Float64[np.ndarray, " g"]:
    """Return (null values as high or higher + 1) / (null values + 1), Phipson & Smyth 2010.

    It is never 0. Null values that are NaN do not count; what is NaN has the p-value NaN. Numbers
    should be of the size of 1, as values that differ by rounding are taken as the same.
    """
    known = np.sort(null[~np.isnan(null)])
    higher = len(known) - np.searchsorted(known, observed - _ROUNDING)
    return np.where(np.isnan(observed), np.nan, (higher + 1) / (len(known) + 1))
