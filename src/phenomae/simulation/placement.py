"""Random positions of the cells of a field, kept apart because cells hardly overlap."""

import numpy as np
from jaxtyping import Float


def cell_centres(number: int, size: int, rng: np.random.Generator) -> Float[np.ndarray, "cells 2"]:
    """Return the centres of cells in a field and in a margin around it, in pixels.

    `number` is the expected number of centres inside the field.
    """
    margin = 20  # cells whose centre is outside the field still reach into it
    side = size + 2 * margin
    count = max(1, round(number * (side / size) ** 2))
    centres: list[np.ndarray] = []
    for _ in range(count):
        # Mitchell's best candidate: of eight random points, take the one farthest from all cells.
        tries = rng.uniform(-margin, size + margin, (8, 2))
        if centres:
            apart = np.min(np.linalg.norm(tries[:, None] - np.array(centres)[None], axis=2), axis=1)
            # Cells more than 40 pixels apart hardly touch, so larger distances count as equal.
            centres.append(tries[np.argmax(np.minimum(apart, 40))])
        else:
            centres.append(tries[0])
    return np.array(centres)
