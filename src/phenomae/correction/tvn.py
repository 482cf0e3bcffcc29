"""Typical variation normalisation: what varies among controls is made small and alike."""

from typing import ClassVar, Self

import numpy as np
from jaxtyping import Float64

from phenomae.correction.batches import ALL_WELLS, Batches, each_batch, new_batches, require_known
from phenomae.correction.center_scale import center_and_spread, inverse, standardise
from phenomae.correction.correction import Correction, State
from phenomae.correction.eigen import eigenvalues
from phenomae.correction.pack import Matrices, join, split
from phenomae.correction.principal_axes import PrincipalAxes

RIDGE = 0.5


class TVN(Correction):
    """Typical variation normalisation (Ando et al. 2017), as the public EFAAR benchmark codes it.

    Standardise on all controls, turn to their principal axes, standardise on all controls again.
    Where batches are given, each is then multiplied by
    (cov(its controls) + ridge I)^(-1/2), with the unbiased covariance (CORAL, Sun et al. 2016).
    As the ridge is above 0 that root is there for two controls already; directions in which a
    batch's controls do not vary are divided by the root of the ridge.

    ridge
        What is added to the covariance's diagonal; 0.5 in the public benchmark.
    components
        How many principal axes are kept, the widest; None keeps all along which controls vary.
    """

    settings: ClassVar[tuple[str, ...]] = ("ridge", "components")

    center: Float64[np.ndarray, " d"]
    matrix: Float64[np.ndarray, "d k"]

    def __init__(self, ridge: float = RIDGE, components: int | None = None) -> None:
        self.ridge = ridge
        self.components = components
        self.by_batch = False
        self.factors: Matrices = {}

    @property
    def known(self) -> frozenset[str]:
        """The batches that it has learned."""
        return frozenset(self.factors) | {ALL_WELLS}

    def fit(self, controls: Float64[np.ndarray, "n d"], batches: Batches = None) -> Self:
        """Learn from the controls; `batches` of None leaves the step per batch out."""
        self.center, spread = center_and_spread(controls)
        scaled = standardise(controls, self.center, spread)
        # The mean of the scaled controls is 0, so one matrix does what the three steps do.
        axes = PrincipalAxes(self.components).fit(scaled).axes
        turned = scaled @ axes
        scales = inverse(center_and_spread(turned)[1])
        self.matrix = inverse(spread)[:, None] * axes * scales
        self.by_batch, self.factors = batches is not None, {}
        if batches is not None:
            whitened = turned * scales
            self.factors[ALL_WELLS] = whitening_factor(whitened, self.ridge)
            self._learn(whitened, batches)
        return self

    def extend(self, controls: Float64[np.ndarray, "n d"], batches: Batches = None) -> Self:
        """Learn the covariances of the batches that are new; the axes and scales stay."""
        if self.by_batch:
            self._learn((controls - self.center) @ self.matrix, batches)
        return self

    def transform(
        self, features: Float64[np.ndarray, "n d"], batches: Batches = None
    ) -> Float64[np.ndarray, "n k"]:
        """Return the features corrected; raises ValueError for a batch that was not fitted."""
        require_known(batches, self.factors if self.by_batch else [ALL_WELLS], self.by_batch)
        corrected = (features - self.center) @ self.matrix
        if batches is not None and self.by_batch:
            for batch, rows in each_batch(batches, len(features)):
                factor, part = self.factors[batch], corrected[rows]
                corrected[rows] = part / np.sqrt(self.ridge) - (part @ factor) @ factor.T
        return corrected

    def state(self) -> State:
        """Return what was learned."""
        learned = {"by_batch": np.array(self.by_batch), "center": self.center}
        return learned | {"matrix": self.matrix} | join(self.factors, "factors")

    def restore(self, state: State) -> Self:
        """Take what another one of the same ridge has learned."""
        self.by_batch, self.factors = bool(state["by_batch"]), split(state, "factors")
        self.center, self.matrix = state["center"], state["matrix"]
        return self

    def _learn(self, whitened: Float64[np.ndarray, "n k"], batches: Batches) -> None:
        for batch, rows in new_batches(batches, self.factors, len(whitened)):
            self.factors[batch] = whitening_factor(whitened[rows], self.ridge)


def whitening_factor(
    controls: Float64[np.ndarray, "n k"], ridge: float
) -> Float64[np.ndarray, "k r"]:
    """Return F so that (cov(controls) + ridge I)^(-1/2) = I / sqrt(ridge) - F F^T.

    F has as many columns as there are controls or features, whichever are fewer: the root itself
    would be k x k for every batch, in memory and in time.
    """
    assert len(controls) > 1
    centered = (controls - controls.mean(axis=0)) / np.sqrt(len(controls) - 1)
    few = len(centered) < centered.shape[1]
    values, vectors = eigenvalues(centered @ centered.T if few else centered.T @ centered)
    values = np.maximum(values, 0.0)
    # (1/sqrt(ridge) - 1/sqrt(value + ridge)) / value, written so that value may be 0.
    low, high = np.sqrt(ridge), np.sqrt(values + ridge)
    gains = 1 / ((low + high) * high * low)
    return centered.T @ (vectors * np.sqrt(gains)) if few else vectors * np.sqrt(values * gains)
