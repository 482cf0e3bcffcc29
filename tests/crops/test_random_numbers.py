"""Random numbers as a pure function of (seed, step, index)."""

import numpy as np
from scipy import stats

from phenomae.crops.random_numbers import Purpose, draw


def test_a_row_does_not_depend_on_the_rows_asked_for() -> None:
    whole = draw(3, 17, Purpose.MASK, range(32), 6)
    for start, stop in ((0, 5), (5, 32), (31, 32)):
        np.testing.assert_array_equal(
            draw(3, 17, Purpose.MASK, range(start, stop), 6), whole[start:stop]
        )


def test_seed_step_and_purpose_each_give_other_numbers() -> None:
    drawn = [
        draw(seed, step, purpose, range(4), 8)
        for seed in (0, 1)
        for step in (0, 1)
        for purpose in Purpose
    ]
    assert len({values.tobytes() for values in drawn}) == len(drawn)
    assert len(np.unique(np.stack(drawn))) == np.stack(drawn).size


def test_numbers_are_uniform() -> None:
    values = draw(1, 2, Purpose.PLACE, range(2000), 10).ravel()
    assert stats.kstest(values, "uniform").pvalue > 0.001
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 0.03


def test_numbers_stay_what_they_are() -> None:
    """A stopped run must draw the same after an update of numpy: Philox's raw bits are promised."""
    bits = np.random.Philox(key=[5, 9], counter=[0, 0, 0, 1]).random_raw(2)
    expected = [(int(bit) >> 11) / 2**53 for bit in bits]
    assert draw(5, 9, Purpose.MASK, range(1), 2).tolist() == [expected]
