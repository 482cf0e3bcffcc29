"""The order of cosines, of which some are equal but for rounding.

Products of matrices round differently from machine to machine, and from one size of matrix to
another. What is listed by its cosine must not depend on that.
"""

import numpy as np
from jaxtyping import Float, Int, Shaped

EQUAL_DIGITS = 9
"""Cosines that agree in so many digits after the point are equal."""


def order_by_cosine(
    cosines: Float[np.ndarray, "*lines n"], ties: Shaped[np.ndarray, "*lines n"] | None = None
) -> Int[np.ndarray, "*lines n"]:
    """Return the places of the cosines along the last axis, the highest first.

    Equal cosines are in the order of `ties`, by default in that of their places.
    """
    falling = -np.round(cosines, EQUAL_DIGITS)
    if ties is None:
        return np.argsort(falling, axis=-1, kind="stable")
    return np.lexsort((ties, falling), axis=-1)
