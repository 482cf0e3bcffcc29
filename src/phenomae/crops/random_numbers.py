"""Random numbers that are a pure function of (seed, step, index), in whatever order one asks."""

from enum import IntEnum

import numpy as np
from jaxtyping import Float64


class Purpose(IntEnum):
    """What numbers are drawn for; those of two purposes have nothing to do with each other."""

    PLACE = 0
    MASK = 1
    DROP_PATH = 2
    GROUP = 3
    CHANNEL = 4


def draw(
    seed: int, step: int, purpose: Purpose, rows: range, width: int
) -> Float64[np.ndarray, "b d"]:
    """Return uniform numbers of [0, 1), one row a crop of the step.

    Row `index` of `rows` does not depend on the other rows asked for, so that processes which share
    a step draw what one process would. Counter-based (Philox 4x64, Salmon et al. 2011): the key is
    seed and step. The raw 64 bits are made into numbers here, as numpy promises only those to stay.
    """
    assert rows.step == 1
    groups = -(-width // 4)  # Philox gives four numbers a count, and every row its own counts
    generator = np.random.Philox(key=[seed, step], counter=[rows.start * groups, 0, 0, purpose])
    bits = generator.random_raw(len(rows) * groups * 4).reshape(len(rows), groups * 4)[:, :width]
    return (bits >> np.uint64(11)) * 2.0**-53
