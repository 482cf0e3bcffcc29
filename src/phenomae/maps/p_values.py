"""P-values of a permutation test, with 1 added to both counts so that no p-value is 0."""

import numpy as np
from jaxtyping import Float64

# Values closer than this count as equal, because sums in another order differ in the last bits.
_ROUNDING = 1e-9


def p_values(
    observed: Float64[np.ndarray, " g"], null: Float64[np.ndarray, " draws"]
) -> Float64[np.ndarray, " g"]:
    """Return (1 + number of null values >= observed) / (1 + number of null values).

    This p-value (Phipson & Smyth 2010) is never 0. Null values that are NaN are ignored; an
    observed NaN has the p-value NaN. Values that differ by less than 1e-9 count as equal, so the
    values should be of the order of 1.
    """
    # The null values are sorted once, so that each of thousands of rows is a bisection.
    known = np.sort(null[~np.isnan(null)])
    higher = len(known) - np.searchsorted(known, observed - _ROUNDING)
    return np.where(np.isnan(observed), np.nan, (higher + 1) / (len(known) + 1))
