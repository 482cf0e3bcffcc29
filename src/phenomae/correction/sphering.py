"""Sphering: whitens features, so that the controls vary equally in all directions.

Sphering is a ZCA transform, the whitening transform that changes the features least, so feature
names stay valid. Sphering has no ridge: with fewer controls than features, sphering mostly
amplifies noise.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from jaxtyping import Float64

from phenomae import checks
from phenomae.correction.batches import ALL_WELLS, Batches, each_batch, new_batches, require_known
from phenomae.correction.center_scale import RESOLUTION, center_and_spread, inverse, standardise
from phenomae.correction.correction import ControlCorrection, State
from phenomae.correction.eigen import singular_values
from phenomae.correction.pack import join, split


@dataclass(frozen=True)
class Sphere:
    """The transform of one batch: standardise, then rescale along the controls' principal axes."""

    center: Float64[np.ndarray, " d"]
    spread: Float64[np.ndarray, " d"]
    axes: Float64[np.ndarray, "d r"]
    gains: Float64[np.ndarray, " r"]
    """Scaling factor along each axis."""
    rest: float
    """Scaling factor in the directions that the axes do not span."""

    def apply(self, features: Float64[np.ndarray, "n d"]) -> Float64[np.ndarray, "n d"]:
        """Return the sphered features."""
        scaled = standardise(features, self.center, self.spread)
        # All directions are scaled by `rest`; along the axes, the difference to `gains` is added.
        rotated = (scaled @ self.axes) * (self.gains - self.rest)
        return scaled * self.rest + rotated @ self.axes.T


class Sphering(ControlCorrection):
    """Sphering of the controls' correlations, ZCA-cor of Kessy et al. 2018.

    Features are standardised and then multiplied by sqrt(m - 1) V diag(1 / (s + epsilon)) V^T, with
    the singular values s and right singular vectors V of the m standardised controls. Directions in
    which the controls do not vary get the smallest s that is not 0, as in pycytominer. If there are
    batches, each batch is sphered on its own controls.

    epsilon
        Added to the singular values, to limit the amplification of directions of small variance.
    """

    name = "sphering"

    by_batch_: bool
    spheres_: dict[str, Sphere]

    def __init__(self, epsilon: float = 1e-6) -> None:
        self.epsilon = epsilon

    def check_parameters(self) -> None:
        """Raise ValueError unless `epsilon` is above 0."""
        checks.above("epsilon", self.epsilon, 0)

    @property
    def known(self) -> frozenset[str]:
        """The batches that this correction was fitted on."""
        return frozenset(self.spheres_)

    @property
    def directions(self) -> int:
        """The number of features."""
        return len(self.spheres_[ALL_WELLS].center)

    def learn(self, controls: Float64[np.ndarray, "m d"], batches: Batches = None) -> Self:
        """Fit a transform on the controls of each batch, and one on all controls."""
        self.by_batch_ = batches is not None
        self.spheres_ = {ALL_WELLS: fit_sphere(controls, self.epsilon, ALL_WELLS)}
        return self.learn_new(controls, batches)

    def learn_new(self, controls: Float64[np.ndarray, "m d"], batches: Batches = None) -> Self:
        """Fit the transforms of new batches."""
        for batch, rows in new_batches(batches, self.spheres_, len(controls)):
            self.spheres_[batch] = fit_sphere(controls[rows], self.epsilon, batch)
        return self

    def apply(
        self, features: Float64[np.ndarray, "n d"], batches: Batches = None
    ) -> Float64[np.ndarray, "n d"]:
        """Return the corrected wells; raises ValueError for a batch that was not fitted."""
        require_known(batches, self.spheres_, self.by_batch_)
        corrected = np.empty_like(features)
        for batch, rows in each_batch(batches, len(features)):
            corrected[rows] = self.spheres_[batch].apply(features[rows])
        return corrected

    def state(self) -> State:
        """Return the fitted parameters as arrays by name."""
        spheres = list(self.spheres_.values())
        return {
            "by_batch": np.array(self.by_batch_),
            "centers": np.stack([sphere.center for sphere in spheres]),
            "spreads": np.stack([sphere.spread for sphere in spheres]),
            "gains": np.concatenate([sphere.gains for sphere in spheres]),
            "rests": np.array([sphere.rest for sphere in spheres]),
            **join({batch: sphere.axes for batch, sphere in self.spheres_.items()}, "axes"),
        }

    def restore(self, state: State) -> Self:
        """Set the fitted parameters to the `state` of another correction of this class."""
        self.by_batch_, axes = bool(state["by_batch"]), split(state, "axes")
        gains = np.split(state["gains"], np.cumsum(state["axes_widths"])[:-1])
        parts = (state["centers"], state["spreads"], axes.values(), gains, state["rests"].tolist())
        spheres = (Sphere(*part) for part in zip(*parts, strict=True))
        self.spheres_ = dict(zip(axes, spheres, strict=True))
        return self


def fit_sphere(controls: Float64[np.ndarray, "m d"], epsilon: float, batch: str) -> Sphere:
    """Return the transform fitted on a batch's controls.

    Raises ValueError if the controls do not differ in any feature.
    """
    center, spread = center_and_spread(controls)
    if not spread.any():
        raise ValueError(f"the controls of {batch} do not differ in any feature")
    scaled = (controls - center) * inverse(spread)
    # Singular values and not square roots of eigenvalues, which lose half of the digits in
    # directions of small variance. R of the QR decomposition has the same singular values and right
    # singular vectors as the controls, and is smaller if there are more controls than features.
    tall = len(scaled) > scaled.shape[1]
    singular, axes = singular_values(np.asarray(np.linalg.qr(scaled, "r")) if tall else scaled)
    # The centred controls have rank m - 1 at most; rounding errors can make it appear higher.
    kept = singular[: len(controls) - 1] > RESOLUTION * singular[0]
    singular, axes = singular[: len(kept)][kept], axes[:, : len(kept)][:, kept]
    gains = np.sqrt(len(controls) - 1) / (singular + epsilon)
    return Sphere(center, spread, axes, gains, float(gains[-1]))
