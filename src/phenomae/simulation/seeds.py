"""Random numbers of the simulator: every draw is a pure function of the seed and its purpose.

A field can then be drawn alone, in any order and by any process, and a call that was stopped draws
only what is missing.
"""

from enum import IntEnum

import numpy as np


class Use(IntEnum):
    """What numbers are drawn for; a part of the key, so that no use shifts the draws of another."""

    TRUTH = 0
    LAYOUT = 1
    BATCH = 2
    PLATE = 3
    WELL = 4
    FIELD = 5


def make_generator(*key: int) -> np.random.Generator:
    """Return a new generator that depends on the key only: seed, use, and place in the screen."""
    return np.random.default_rng(key)
