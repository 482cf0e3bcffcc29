"""Random generators of the simulator, each a pure function of seed, use and place in the screen.

So a field can be drawn alone, in any order and by any process, and a call that resumes an
interrupted one draws only the missing fields.
"""

from enum import IntEnum

import numpy as np


class Use(IntEnum):
    """What random numbers are used for: part of the key, which makes the uses independent."""

    TRUTH = 0
    LAYOUT = 1
    BATCH = 2
    PLATE = 3
    WELL = 4
    FIELD = 5
    KIND = 6
    CELLS = 7
    ROW = 8
    COLUMN = 9
    OPTICS = 10


def make_generator(*key: int) -> np.random.Generator:
    """Return a new generator that depends only on `key`: seed, use, and place in the screen."""
    return np.random.default_rng(key)
