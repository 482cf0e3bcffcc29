"""Controls that a plate was corrected by: they are known, told, and their p-values too small."""

import numpy as np
import pytest

from phenomae.maps.consistency import compare_with_controls
from phenomae.maps.null_checks import is_centred, warn_centred
from phenomae.maps.unit_vectors import unit_rows

PLATES = np.repeat(np.arange(30), 14)
CONTROL = np.tile(np.arange(14) < 10, 30)


def noise(seed: int = 0) -> np.ndarray:
    """Wells that do nothing, on plates with an offset each."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(420, 6)) + 2 * rng.normal(size=(30, 6))[PLATES]


def center(features: np.ndarray) -> np.ndarray:
    means = [features[(plate == PLATES) & CONTROL].mean(axis=0) for plate in range(30)]
    return (features - np.array(means)[PLATES]).astype(np.float32)


def test_plates_that_were_centered_on_their_controls_are_known(capsys):
    features = noise()
    names = np.array([f"P{plate}" for plate in PLATES])
    turned = center(features) @ np.random.default_rng(1).normal(size=(6, 6))  # as tvn does then
    for some in (center(features), turned):
        assert is_centred(some, names, CONTROL)
    everything = (features - features[CONTROL].mean(axis=0)).astype(np.float32)
    for some in (features, everything):
        assert not is_centred(some, names, CONTROL)
    warn_centred(features, names, CONTROL)
    assert not capsys.readouterr().err
    warn_centred(center(features), names, CONTROL)
    assert "p-values are too small" in capsys.readouterr().err


def test_a_control_alone_on_its_plate_is_not_0_and_does_not_count():
    one = np.arange(4) < 1
    assert not is_centred(np.zeros((4, 2)), np.zeros(4), one)
    features = np.array([[1.0, 2], [-1, -2], [5, 5]])
    assert is_centred(features, np.array([0, 0, 1]), np.ones(3, dtype=bool))


def test_noise_then_looks_alike_more_often_than_its_p_values_say():
    # Four wells on one plate of ten controls. What nobody centered is as it should be.
    groups = np.where(CONTROL, -1, PLATES)
    shares = []
    for change in (np.asarray, center):
        small = []
        for seed in range(8):
            rng = np.random.default_rng([5, seed])
            features = change(rng.normal(size=(420, 6)))
            made = (unit_rows(features), groups, 30, PLATES, CONTROL)
            small.append((compare_with_controls(*made, draws=200).p <= 0.05).mean())
        shares.append(np.mean(small))
    assert shares[0] == pytest.approx(0.05, abs=0.05)
    assert shares[1] > 0.2
