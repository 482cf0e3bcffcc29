"""Sphering: controls vary equally in all directions afterwards, and features stay themselves.

It is a ZCA transform, which among all that whiten changes the features least, so their names stay
valid. It has no ridge: with fewer controls than features it mostly amplifies noise.
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
    """The transform of one batch: standardise, then rescale along its controls' principal axes."""

    center: Float64[np.ndarray, " d"]
    spread: Float64[np.ndarray, " d"]
    axes: Float64[np.ndarray, "d r"]
    gains: Float64[np.ndarray, " r"]
    """The factor along each axis."""
    rest: float
    """The factor in all directions that no axis spans."""

    def apply(self, features: Float64[np.ndarray, "n d"]) -> Float64[np.ndarray, "n d"]:
        """Return the features sphered."""
        scaled = standardise(features, self.center, self.spread)
        # All directions get the factor `rest`; along the axes the difference is added.
        rotated = (scaled @ self.axes) * (self.gains - self.rest)
        return scaled * self.rest + rotated @ self.axes.T


class Sphering(ControlCorrection):
    """Sphering of the controls' correlations, ZCA-cor of Kessy et al. 2018.

    Features are standardised; with the singular values s and right singular vectors V of the m
    controls, they are multiplied by sqrt(m - 1) V diag(1 / (s + epsilon)) V^T. Directions in which
    the controls do not vary get the smallest s that is not 0, as in pycytominer. If there are
    batches, each is sphered on its own controls.

    epsilon
        Added to the singular values, so that narrow directions are not blown up.
    """

    name = "sphering"

    by_batch_: bool
    spheres_: dict[str, Sphere]

    def __init__(self, epsilon: float = 1e-6) -> None:
        self.epsilon = epsilon

    def check_parameters(self) -> None:
        """Raise ValueError unless epsilon is above 0."""
        checks.above("epsilon", self.epsilon, 0)

    @property
    def known(self) -> frozenset[str]:
        """The batches that it has learned."""
        return frozenset(self.spheres_)

    def learn(self, controls: Float64[np.ndarray, "m d"], batches: Batches = None) -> Self:
        """Learn the transform of each batch, and of all together, from the controls."""
        self.by_batch_ = batches is not None
        self.spheres_ = {ALL_WELLS: fit_sphere(controls, self.epsilon, ALL_WELLS)}
        return self.learn_new(controls, batches)

    def learn_new(self, controls: Float64[np.ndarray, "m d"], batches: Batches = None) -> Self:
        """Learn the transforms of the batches that are new."""
        for batch, rows in new_batches(batches, self.spheres_, len(controls)):
            self.spheres_[batch] = fit_sphere(controls[rows], self.epsilon, batch)
        return self

    def apply(
        self, features: Float64[np.ndarray, "n d"], batches: Batches = None
    ) -> Float64[np.ndarray, "n d"]:
        """Return wells corrected; raises ValueError for a batch that was not learned."""
        require_known(batches, self.spheres_, self.by_batch_)
        corrected = np.empty_like(features)
        for batch, rows in each_batch(batches, len(features)):
            corrected[rows] = self.spheres_[batch].apply(features[rows])
        return corrected

    def state(self) -> State:
        """Return what was learned."""
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
        """Set what was learned to the `state` of another one."""
        self.by_batch_, axes = bool(state["by_batch"]), split(state, "axes")
        gains = np.split(state["gains"], np.cumsum(state["axes_widths"])[:-1])
        parts = (state["centers"], state["spreads"], axes.values(), gains, state["rests"].tolist())
        spheres = (Sphere(*part) for part in zip(*parts, strict=True))
        self.spheres_ = dict(zip(axes, spheres, strict=True))
        return self


def fit_sphere(controls: Float64[np.ndarray, "m d"], epsilon: float, batch: str) -> Sphere:
    """Return the transform of a batch; raises ValueError if its controls do not differ."""
    center, spread = center_and_spread(controls)
    if not spread.any():
        raise ValueError(f"the controls of {batch} do not differ in any feature")
    scaled = (controls - center) * inverse(spread)
    # Singular values, not roots of eigenvalues: those lose half of the digits in narrow directions.
    # If there are many controls, the triangle of QR has the same ones and is smaller.
    tall = len(scaled) > scaled.shape[1]
    singular, axes = singular_values(np.asarray(np.linalg.qr(scaled, "r")) if tall else scaled)
    kept = singular[: len(controls) - 1] > RESOLUTION * singular[0]
    singular, axes = singular[: len(kept)][kept], axes[:, : len(kept)][:, kept]
    gains = np.sqrt(len(controls) - 1) / (singular + epsilon)
    return Sphere(center, spread, axes, gains, float(gains[-1]))
