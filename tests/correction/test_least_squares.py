"""The regression of covariates on arrays: coefficients, R2 on unseen plates, terms of position."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict

from phenomae.correction.count import Count
from phenomae.correction.covariates import Covariates
from phenomae.correction.least_squares import explained_on_unseen_plates, plate_products
from phenomae.correction.position import Position, position_terms
from phenomae.records import plate_shape

# Not more different: LinearRegression of scikit-learn 1.9 leaves out directions below 1e-6.
UNITS = np.array([1, 100, 0.1])
PLANTED = np.random.default_rng(3).normal(size=(3, 4))


def make_controls(planted: float, sizes=(20, 30, 5, 12)) -> tuple[Covariates, np.ndarray]:
    """Controls on plates of these sizes, with offsets of plates and a planted effect."""
    rng, codes = np.random.default_rng(0), np.repeat(np.arange(len(sizes)), sizes)
    # Covariates of different units, which plates also shift.
    x = (rng.normal(size=(len(codes), 3)) + rng.normal(size=(len(sizes), 3))[codes]) * UNITS
    y = rng.normal(size=(len(codes), 4)) + rng.normal(size=(len(sizes), 4))[codes] * 10
    return Covariates(x, codes.astype(np.str_)), y + planted * (x / UNITS) @ PLANTED


def center(values: np.ndarray, plates: np.ndarray) -> np.ndarray:
    means = {plate: values[plates == plate].mean(axis=0) for plate in np.unique(plates)}
    return values - np.stack([means[plate] for plate in plates])


def cross_validated(own: Covariates, features: np.ndarray) -> np.ndarray:
    """R2 of leave-one-plate-out by scikit-learn."""
    x, y = center(own.values, own.plates), center(features, own.plates)
    predicted = cross_val_predict(
        LinearRegression(), x, y, groups=own.plates, cv=LeaveOneGroupOut()
    )
    return 1 - ((y - predicted) ** 2).sum(axis=0) / (y**2).sum(axis=0)


def test_coefficients_are_those_of_numpy_and_near_the_planted_ones():
    own, features = make_controls(1.0)
    fitted = Count().learn(features, own)
    x, y = center(own.values, own.plates), center(features, own.plates)
    slopes, squares, *_ = np.linalg.lstsq(x, y, rcond=None)
    np.testing.assert_allclose(fitted.coefficients_, slopes, rtol=1e-9)
    # Standard errors of least squares: 67 controls, less 4 means of plates and 3 coefficients.
    errors = np.sqrt(np.diag(np.linalg.inv(x.T @ x))[:, None] * squares / 60)
    assert (np.abs(slopes - PLANTED / UNITS[:, None]) < 3.5 * errors).all()


@pytest.mark.parametrize("planted", [0.0, 1.0])
def test_variance_explained_on_unseen_plates_against_scikit_learn(planted):
    own, features = make_controls(planted)
    found = explained_on_unseen_plates(plate_products(own, features))
    wanted = cross_validated(own, features)
    np.testing.assert_allclose(found, wanted, rtol=1e-8)
    assert (wanted.min() > 0.1) if planted else (wanted.mean() < 0)


def test_a_plate_with_one_control_has_no_say():
    own, features = make_controls(1.0, (20, 30, 1, 12))
    several = own.plates != "2"
    found = explained_on_unseen_plates(plate_products(own, features))
    wanted = cross_validated(own[several], features[several])
    np.testing.assert_allclose(found, wanted, rtol=1e-8)


def test_the_order_of_controls_does_not_matter():
    own, features = make_controls(1.0)
    order = np.random.default_rng(1).permutation(len(features))
    one, two = Count().learn(features, own), Count().learn(features[order], own[order])
    np.testing.assert_allclose(one.coefficients_, two.coefficients_, rtol=1e-9)
    np.testing.assert_allclose(
        one.apply(features, own)[order], two.apply(features[order], own[order])
    )


def test_a_feature_that_does_not_vary_within_plates_has_no_r2():
    own, features = make_controls(1.0)
    # 0.1 is rounded, and its rounding error must not count as variation.
    features[:, 1] = 0.1 + 1000.0 * (own.plates == "1")
    found = explained_on_unseen_plates(plate_products(own, features))
    np.testing.assert_array_equal(np.isnan(found), [False, True, False, False])
    assert not Count().learn(features, own).coefficients_[:, 1].any()
    features[:] = features[:, 1:2]
    with pytest.raises(ValueError, match="count: the controls of no plate differ in any feature"):
        Count().learn(features, own)


@pytest.mark.parametrize("repeated", [0.0, 2.0])
def test_a_covariate_that_adds_nothing_changes_nothing(repeated):
    """It is constant, or another one in other units."""
    own, features = make_controls(1.0)
    more = Covariates(np.hstack([own.values, repeated * own.values[:, :1] + 0.1]), own.plates)
    one, two = Count().learn(features, own), Count().learn(features, more)
    np.testing.assert_allclose(two.apply(features, more), one.apply(features, own), rtol=1e-8)


def test_what_was_learned_can_be_handed_on():
    own, features = make_controls(1.0)
    fitted = Count().learn(features, own)
    other = Count().restore(fitted.state())
    np.testing.assert_array_equal(other.apply(features, own), fitted.apply(features, own))
    assert other.known == fitted.known == {"0", "1", "2", "3", "all wells"}


@pytest.mark.parametrize(
    ("controls", "sentence"),
    [
        ([8], "position is tested on plates left out of the fit, so it needs two plates with two "
              "or more controls, but there is 1"),
        ([8, 1, 1], "two plates with two or more controls, but there is 1"),
        ([8, 3, 2, 1], "position has 3 covariates and needs more controls: without the plate of "
                       "most controls, 5 controls are left on 2 plates, and at least 6 are needed"),
    ],
)  # fmt: skip
def test_too_few_controls(controls, sentence):
    own, features = make_controls(1.0, controls)
    with pytest.raises(ValueError, match=sentence):
        Position().learn(features, own)


def test_as_many_controls_as_the_sentence_asks_for():
    own, features = make_controls(30.0, (8, 3, 3, 1))
    assert Count().learn(features, own).coefficients_.shape == (3, 4)


@pytest.mark.parametrize(
    ("last", "shape"),
    [
        ((1, 2), (2, 3)),
        ((7, 11), (8, 12)),
        ((7, 12), (16, 24)),
        ((8, 0), (16, 24)),
        ((16, 0), (32, 48)),
        ((40, 5), (41, 6)),
    ],
)
def test_the_format_is_the_smallest_that_has_all_wells(last, shape):
    assert plate_shape(last[0] + 1, last[1] + 1) == shape


def test_terms_of_a_plate_of_96():
    found = position_terms(np.array([(0, 0), (7, 11), (1, 5), (3, 6)]), (8, 12))
    row, column = np.array([-3.5, 3.5, -2.5, -0.5]) / 3.5, np.array([-5.5, 5.5, -0.5, 0.5]) / 5.5
    wanted = np.stack([row, row**2, column, column**2, [0, 0, 0.5, 1]], axis=1)
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
    assert np.isfinite(position_terms(np.array([[0, 0], [0, 3]]), (1, 4))).all()
