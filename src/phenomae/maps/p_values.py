"""P-values of a permutation test, corrected so that none is 0."""

import numpy as np
from jaxtyping import Float64

# Closer values count as equal: sums in another order differ in the last bits.
_ROUNDING = 1e-9


def p_values(
    observed: Float64[np.ndarray, " g"], null: Float64[np.ndarray, " draws"]
) -> Float64[np.ndarray, " g"]:
    """Return (number of null values >= observed + 1) / (number of null values + 1).

    From Phipson & Smyth 2010; it is never 0. Null values that are NaN are ignored; an observed NaN
    has the p-value NaN. Values should be about 1 in size, because those that differ by less than
    1e-9 count as equal.
    """
    # Sorted once, so that thousands of rows are looked up by bisection.
    known = np.sort(null[~np.isnan(null)])
    higher = len(known) - np.searchsorted(known, observed - _ROUNDING)
    return np.where(np.isnan(observed), np.nan, (higher + 1) / (len(known) + 1))
