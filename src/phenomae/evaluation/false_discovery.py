"""False discovery rates of Benjamini and Hochberg (1995).

SciPy has them too, but takes .6 s to import, for which a page or a small table would wait.
"""

import numpy as np
from jaxtyping import Float64


def false_discovery_rates(
    p: Float64[np.ndarray, " n"], tests: int | None = None
) -> Float64[np.ndarray, " n"]:
    """Return the false discovery rate at which each test is found, as `false_discovery_control`.

    `tests` is the number of all tests, if those that are not listed have a p of 1.
    """
    order = np.argsort(p)
    scaled = p[order] * (len(p) if tests is None else tests) / np.arange(1, len(p) + 1)
    # At a rate a test is found if it, or one with a larger p, is below the line.
    lowest = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1)
    rates = np.empty(len(p))
    rates[order] = lowest
    return rates
