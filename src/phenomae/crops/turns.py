"""The eight turns of a square: quarter turns and their mirror images, as three bits.

Bit 1 swaps rows and columns, bit 2 flips rows, bit 4 flips columns, in this order.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from jaxtyping import Shaped

Turns = Literal[1, 4, 8]
"""Number of turns over which an embedding is averaged."""

TURNS: Mapping[int, tuple[int, ...]] = {1: (0,), 4: (0, 3, 6, 5), 8: tuple(range(8))}
"""The bits of each turn, by their number: 4 are the quarter turns, 8 also their mirror images."""


def turn_image(image: Shaped[np.ndarray, "*n s s"], bits: int) -> Shaped[np.ndarray, "*n s s"]:
    """Return a view of square images, turned as the bits say."""
    if bits & 1:
        image = image.swapaxes(-1, -2)
    flipped = tuple(axis for bit, axis in ((2, -2), (4, -1)) if bits & bit)
    return np.flip(image, flipped)
