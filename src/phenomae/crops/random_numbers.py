"""Random numbers that are a pure function of (seed, step, purpose, index).

A generator with a state would depend on how many numbers were drawn before, and so on the number of
processes and on how often the run was stopped.
"""

from enum import IntEnum

import numpy as np
from jaxtyping import Float64


class Purpose(IntEnum):
    """What numbers are drawn for; numbers of two purposes are independent."""

    PLACE = 0
    MASK = 1
    DROP_PATH = 2
    GROUP = 3
    CHANNEL = 4


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
        Numbers of the crops in the step. A row is the same whatever other rows are requested, so
        that processes sharing a step draw the numbers that one process would.
    width
        Numbers per crop.
    """
    assert rows.step == 1
    groups = -(-width // 4)  # each count of Philox yields four numbers; a row has counts of its own
    generator = np.random.Philox(key=[seed, step], counter=[rows.start * groups, 0, 0, purpose])
    bits = generator.random_raw(len(rows) * groups * 4).reshape(len(rows), groups * 4)[:, :width]
    # numpy may change how it makes floats in another version, but guarantees the raw bits.
    return (bits >> np.uint64(11)) * 2.0**-53
