"""Random numbers that are a pure function of (seed, step, purpose, index of the crop).

The numbers of a generator with internal state depend on how many were drawn before, and so would
depend on the number of processes and on interruptions of the run.
"""

from enum import IntEnum

import numpy as np
from jaxtyping import Float64


class Purpose(IntEnum):
    """What random numbers are used for; the numbers of different purposes are independent."""

    PLACE = 0
    MASK = 1
    DROP_PATH = 2
    GROUP = 3
    CHANNEL = 4
    FILTER = 5
    LABEL = 6
    PAIR = 7


def draw(
    seed: int, step: int, purpose: Purpose, rows: range, width: int
) -> Float64[np.ndarray, "b d"]:
    """Return uniform random numbers in [0, 1), one row per crop.

    Parameters
    ----------
    seed, step
        The key of the generator: Philox 4x64, counter-based (Salmon et al. 2011).
    purpose
        Selects one of several independent sequences.
    rows
        Indices of the crops within the step. The numbers of a crop do not depend on the other
        indices, so that several processes together draw the same numbers as a single process.
    width
        How many random numbers each crop gets.
    """
    assert rows.step == 1
    groups = -(-width // 4)  # Philox yields four numbers per counter; crops never share a counter
    generator = np.random.Philox(key=[seed, step], counter=[rows.start * groups, 0, 0, purpose])
    bits = generator.random_raw(len(rows) * groups * 4).reshape(len(rows), groups * 4)[:, :width]
    # numpy guarantees the raw bits of Philox in all versions, but not its conversion to floats.
    return (bits >> np.uint64(11)) * 2.0**-53
