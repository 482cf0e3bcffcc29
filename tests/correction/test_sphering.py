"""Sphering against pycytominer, and where pycytominer gives up."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from pycytominer.operations.transform import Spherize

from phenomae.correction import TVN, Sphering


def mixed(seed: int, wells: int, features: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(wells, features)) @ rng.normal(size=(features, features)) + 5


@pytest.mark.parametrize("controls", [200, 31, 30, 12])  # more, as many + 1, as many, fewer
@pytest.mark.parametrize("epsilon", [1e-6, 0.5])
def test_as_pycytominer(controls, epsilon):
    features = mixed(controls, 300, 30)
    judge = Spherize(epsilon=epsilon, method="ZCA-cor").fit(pd.DataFrame(features[:controls]))
    wanted = judge.transform(pd.DataFrame(features)).to_numpy()
    ours = Sphering(epsilon).learn(features[:controls]).apply(features)
    np.testing.assert_allclose(ours, wanted, rtol=1e-7, atol=1e-9 * np.abs(wanted).max())


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(3, 40), st.integers(2, 20))
def test_as_pycytominer_whatever_the_shape(seed, controls, width):
    features = mixed(seed, controls + 5, width).astype(np.float32).astype(np.float64)
    try:
        judge = Spherize(method="ZCA-cor").fit(pd.DataFrame(features[:controls]))
    except ValueError:  # it refuses controls that are almost in a plane, as three may be
        reject()
    wanted = judge.transform(pd.DataFrame(features)).to_numpy()
    ours = Sphering().learn(features[:controls]).apply(features)
    np.testing.assert_allclose(ours, wanted, rtol=1e-5, atol=1e-7 * np.abs(wanted).max())


def test_every_batch_by_its_own_controls():
    features, batches = mixed(3, 80, 6), np.repeat(["a", "b"], 40)
    ours = Sphering().learn(features, batches).apply(features, batches)
    for rows in (slice(0, 40), slice(40, 80)):
        judge = Spherize(method="ZCA-cor").fit(pd.DataFrame(features[rows]))
        wanted = judge.transform(pd.DataFrame(features[rows])).to_numpy()
        np.testing.assert_allclose(ours[rows], wanted, rtol=1e-7, atol=1e-9)


def test_controls_come_out_uncorrelated():
    controls = mixed(0, 500, 8)
    sphered = Sphering().learn(controls).apply(controls)
    np.testing.assert_allclose(np.cov(sphered, rowvar=False), np.eye(8), atol=1e-6)


def test_without_batches_it_is_tvn_turned():
    features = mixed(5, 300, 8)
    ours = Sphering(1e-12).learn(features[:200]).apply(features)
    turned = TVN().learn(features[:200]).apply(features)
    np.testing.assert_allclose(ours @ ours.T * 200 / 199, turned @ turned.T, rtol=1e-6, atol=1e-6)


def test_a_constant_feature_becomes_0_and_leaves_the_others_alone():
    features = mixed(1, 60, 5)
    constant = np.hstack([features, np.full((60, 1), 0.1)])
    fitted = Sphering().learn(constant)
    moved = constant + np.array([0, 0, 0, 0, 0, 1000.0])
    wanted = Sphering().learn(features).apply(features)
    np.testing.assert_allclose(fitted.apply(moved)[:, :5], wanted, rtol=1e-9, atol=1e-12)
    assert not fitted.apply(moved)[:, 5].any()


def test_a_feature_that_repeats_another_is_not_blown_up():
    features = mixed(2, 60, 5)
    repeated = np.hstack([features, features[:, :1]])
    assert np.abs(Sphering().learn(repeated).apply(repeated)).max() < 20
