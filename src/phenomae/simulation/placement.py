"""Positions of the cells of a field: random, but apart, since cells push each other away."""

import numpy as np
from jaxtyping import Float


def cell_centres(number: int, size: int, rng: np.random.Generator) -> Float[np.ndarray, "cells 2"]:
    """Return positions of cells in a field and just outside of it, in pixels, spread apart.

    `number` is the expected number of cells inside the field.
    """
    margin = 20  # cells whose centre is outside still reach into the field
    side = size + 2 * margin
    count = max(1, round(number * (side / size) ** 2))
    centres: list[np.ndarray] = []
    for _ in range(count):
        # Mitchell's best candidate: of eight random points the one farthest from all cells so far.
        tries = rng.uniform(-margin, size + margin, (8, 2))
        if centres:
            apart = np.min(np.linalg.norm(tries[:, None] - np.array(centres)[None], axis=2), axis=1)
            # Beyond 40 pixels cells do not feel each other, so the first of such points is taken.
            centres.append(tries[np.argmax(np.minimum(apart, 40))])
        else:
            centres.append(tries[0])
    return np.array(centres)
