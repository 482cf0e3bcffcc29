"""The order of cosines: that of Python's sort of rounded numbers."""

import numpy as np
import pytest

from phenomae.maps.cosine_order import order_by_cosine


def draw(*shape: int) -> np.ndarray:
    """Return numbers of which many are equal but for rounding."""
    rng = np.random.default_rng(len(shape))
    return rng.integers(-3, 4, size=shape) / 4 + rng.choice([-1e-16, 0, 1e-12], size=shape)


@pytest.mark.parametrize("shape", [(40,), (5, 30), (2, 3, 20)])
@pytest.mark.parametrize("tied", [False, True])
def test_equal_cosines_are_in_the_order_that_is_given(shape, tied):
    cosines = draw(*shape)
    ties = np.random.default_rng(1).random(shape) if tied else None
    found = order_by_cosine(cosines, ties)
    keys = np.broadcast_to(np.arange(shape[-1]), shape) if ties is None else ties
    for line in np.ndindex(shape[:-1]):
        pairs = [
            (-round(float(cosine), 9), key)
            for cosine, key in zip(cosines[line], keys[line], strict=True)
        ]
        assert found[line].tolist() == sorted(range(shape[-1]), key=pairs.__getitem__)


def test_what_is_not_equal_is_ordered_by_its_ninth_digit():
    assert order_by_cosine(np.array([0.5, 0.500000001, 0.5000000001])).tolist() == [1, 0, 2]
