"""Random numbers drawn on a device are those of NumPy's Philox."""

import numpy as np
import pytest
import torch

from phenomae.crops.philox import draw_on_device
from phenomae.crops.random_numbers import Purpose, draw


@pytest.mark.parametrize(
    ("seed", "step", "purpose", "rows", "width"),
    [
        (0, 0, Purpose.MASK, range(5), 7),
        (12345678901234567, 99, Purpose.MASK, range(3, 40), 196),
        (2**63 - 1, 2**40, Purpose.DROP_PATH, range(100, 104), 11),
        (5, 1, Purpose.MASK, range(64), 1),
    ],
)
def test_the_numbers_are_those_of_numpy(
    seed: int, step: int, purpose: Purpose, rows: range, width: int
):
    place = torch.tensor([seed, step, purpose, rows.start])
    found = draw_on_device(place, len(rows), width)
    expected = draw(seed, step, purpose, rows, width).astype(np.float32)
    np.testing.assert_array_equal(found.numpy(), expected)
