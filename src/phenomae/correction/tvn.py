"""Typical variation normalisation (TVN): whitens features by the variation among the controls.

This is TVN as the package 1.0 of the EFAAR benchmark codes it (August 2024); tvn_2024.py has the
form that its repository has since November 2024.
The covariances of the batches are aligned as in CORAL. A batch has few controls and many features,
so the inverse square root of its covariance is stored as a low-rank factor and not as a d x d
matrix.
"""

from typing import Self

import numpy as np
from jaxtyping import Float64

from phenomae import checks
from phenomae.correction.batches import ALL_WELLS, Batches, each_batch, new_batches, require_known
from phenomae.correction.center_scale import center_and_spread, inverse, standardise
from phenomae.correction.correction import ControlCorrection, State
from phenomae.correction.eigen import eigenvalues
from phenomae.correction.pack import Matrices, join, split
from phenomae.correction.principal_axes import AUTO, PrincipalAxes, check_components


class TVN(ControlCorrection):
    """Typical variation normalisation (Ando et al. 2017), as in the EFAAR benchmark, package 1.0.

    Wells are standardised on all controls, rotated to the principal axes of all controls, and
    standardised on all controls again. If there are batches, the wells of each batch are then
    multiplied by (C + ridge I)^(-1/2), where C is the unbiased covariance of the batch's controls
    (CORAL, Sun et al. 2016). As the ridge is above 0, the matrix is invertible with two controls;
    directions in which the batch's controls do not vary are divided by the square root of the
    ridge.

    ridge
        Added to the diagonal of the covariance; 0.5 in the public benchmark.
    components
        Number of principal axes to keep, by decreasing variance. "auto": 64, or two thirds of the
        controls if these are fewer; "all": all axes along which the controls vary.
    """

    name = "tvn"
    keeps_features = False

    by_batch_: bool
    center_: Float64[np.ndarray, " d"]
    matrix_: Float64[np.ndarray, "d k"]
    factors_: Matrices

    def __init__(self, ridge: float = 0.5, components: int | str | None = AUTO) -> None:
        self.ridge = ridge
        self.components = components

    def check_parameters(self) -> None:
        """Raise ValueError unless `ridge` is above 0, and `components` at least 1, auto or all."""
        # A ridge of 0 would divide by 0 in directions in which no control varies.
        checks.above("ridge", self.ridge, 0)
        self.components = checks.whole_number("components", self.components)
        check_components(self.components)

    @property
    def known(self) -> frozenset[str]:
        """The batches that this correction was fitted on."""
        return frozenset(self.factors_) | {ALL_WELLS}

    @property
    def directions(self) -> int:
        """The number of axes, if there are batches; axes alone are never more than controls."""
        return self.matrix_.shape[1] if self.by_batch_ else 0

    def learn(self, controls: Float64[np.ndarray, "m d"], batches: Batches = None) -> Self:
        """Fit on the controls; without `batches`, the covariance step per batch is left out."""
        self.center_, spread = center_and_spread(controls)
        scaled = standardise(controls, self.center_, spread)
        # The scaled controls have mean 0, so standardising, rotating and standardising again is a
        # single matrix product.
        axes = PrincipalAxes(self.components).fit(scaled).axes
        rotated = scaled @ axes
        scales = inverse(center_and_spread(rotated)[1])
        self.matrix_ = inverse(spread)[:, None] * axes * scales
        self.by_batch_, self.factors_ = batches is not None, {}
        if batches is not None:
            whitened = rotated * scales
            self.factors_[ALL_WELLS] = whitening_factor(whitened, self.ridge)
            self._learn_batches(whitened, batches)
        return self

    def learn_new(self, controls: Float64[np.ndarray, "m d"], batches: Batches = None) -> Self:
        """Estimate the covariances of new batches; axes and scales do not change."""
        if self.by_batch_:
            self._learn_batches((controls - self.center_) @ self.matrix_, batches)
        return self

    def apply(
        self, features: Float64[np.ndarray, "n d"], batches: Batches = None
    ) -> Float64[np.ndarray, "n k"]:
        """Return the corrected wells; raises ValueError for a batch that was not fitted."""
        require_known(batches, self.factors_ if self.by_batch_ else [ALL_WELLS], self.by_batch_)
        corrected = (features - self.center_) @ self.matrix_
        if batches is not None and self.by_batch_:
            for batch, rows in each_batch(batches, len(features)):
                factor = self.factors_[batch]
                corrected[rows] = divide_by_root(corrected[rows], factor, self.ridge)
        return corrected

    def state(self) -> State:
        """Return the fitted parameters as arrays by name."""
        learned = {"by_batch": np.array(self.by_batch_), "center": self.center_}
        return learned | {"matrix": self.matrix_} | join(self.factors_, "factors")

    def restore(self, state: State) -> Self:
        """Set the fitted parameters to the `state` of a TVN with the same ridge."""
        self.by_batch_, self.factors_ = bool(state["by_batch"]), split(state, "factors")
        self.center_, self.matrix_ = state["center"], state["matrix"]
        return self

    def _learn_batches(self, whitened: Float64[np.ndarray, "m k"], batches: Batches) -> None:
        for batch, rows in new_batches(batches, self.factors_, len(whitened)):
            self.factors_[batch] = whitening_factor(whitened[rows], self.ridge)


def divide_by_root(
    features: Float64[np.ndarray, "n k"], factor: Float64[np.ndarray, "k r"], ridge: float
) -> Float64[np.ndarray, "n k"]:
    """Return features (C + ridge I)^(-1/2), given the `whitening_factor` of C."""
    # Without computing the k x k matrix.
    return features / np.sqrt(ridge) - (features @ factor) @ factor.T


def whitening_factor(
    controls: Float64[np.ndarray, "m k"], ridge: float
) -> Float64[np.ndarray, "k r"]:
    """Return F such that (cov(controls) + ridge I)^(-1/2) = I / sqrt(ridge) - F F^T.

    F has as many columns as there are controls or features, whichever is smaller; the matrix itself
    would need k x k numbers per batch.
    """
    assert len(controls) > 1
    centered = (controls - controls.mean(axis=0)) / np.sqrt(len(controls) - 1)
    few = len(centered) < centered.shape[1]
    # X X^T and X^T X have the same eigenvalues other than 0, so the smaller one is decomposed.
    values, vectors = eigenvalues(centered @ centered.T if few else centered.T @ centered)
    values = np.maximum(values, 0.0)  # rounding can make an eigenvalue of 0 slightly negative
    # gains = (1/sqrt(ridge) - 1/sqrt(value + ridge)) / value, rearranged so that value may be 0.
    low, high = np.sqrt(ridge), np.sqrt(values + ridge)
    gains = 1 / ((low + high) * high * low)
    return centered.T @ (vectors * np.sqrt(gains)) if few else vectors * np.sqrt(values * gains)
