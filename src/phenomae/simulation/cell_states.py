"""Two states of five compartments of a cell, and relations of three of them.

Every compartment is in one of two states with equal chance, for example Golgi compact or dispersed.
A relation changes how often the states of *three* compartments have a positive product, and leaves
those of any two independent. A channel shows the state of one compartment only, so the joint
distribution of any two channels is the same with every relation, and neither spectra nor
cross-spectra nor any other statistic of two channels, averaged over fields, depends on it.
"""

from itertools import combinations, product

import numpy as np
from jaxtyping import Float, Int

# The parameter by which a compartment's states differ. Each is drawn in channels of its own:
# nucleoli in DNA and RNA, the others in ER, Actin, Golgi and Mito.
COMPARTMENTS = (
    "nucleoli_spread",
    "er_extent",
    "actin_cortex",
    "golgi_spread",
    "mito_distance",
)
TRIPLES = tuple(combinations(range(len(COMPARTMENTS)), 3))

_PATTERNS = np.array(list(product((-1, 1), repeat=len(COMPARTMENTS))))
_PRODUCTS = np.stack([_PATTERNS[:, triple].prod(axis=1) for triple in TRIPLES], axis=1)


def draw_states(
    relation: Float[np.ndarray, " triples"], cells: int, rng: np.random.Generator
) -> Int[np.ndarray, "cells compartments"]:
    """Return the state, -1 or 1, of every compartment of each cell.

    `relation` is the mean of the product of the states of each of `TRIPLES`. The sum of its
    absolute values is at most 1, or probabilities would be negative.
    """
    assert np.abs(relation).sum() <= 1 + 1e-9
    # The only distribution whose moments are 0 but for these products (a Walsh expansion).
    chances = np.maximum(1 + _PRODUCTS @ relation, 0)
    return _PATTERNS[rng.choice(len(_PATTERNS), cells, p=chances / chances.sum())]
