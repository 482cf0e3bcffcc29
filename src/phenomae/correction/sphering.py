"""Sphering: controls are made to vary alike in all directions, and features stay themselves."""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from jaxtyping import Float64

from phenomae.correction.batches import ALL_WELLS, Batches, each_batch, new_batches, require_known
from phenomae.correction.center_scale import RESOLUTION, center_and_spread, inverse, standardise
from phenomae.correction.correction import Correction, State
from phenomae.correction.eigen import singular_values
from phenomae.correction.pack import join, split

EPSILON = 1e-6


@dataclass(frozen=True)
class Sphere:
    """What one batch's controls give: standardise, then stretch along their principal axes."""

    center: Float64[np.ndarray, " d"]
    spread: Float64[np.ndarray, " d"]
    axes: Float64[np.ndarray, "d r"]
    gains: Float64[np.ndarray, " r"]
    """What is multiplied along each axis."""
    rest: float
    """What is multiplied in all directions that no axis spans."""

    def apply(self, features: Float64[np.ndarray, "n d"]) -> Float64[np.ndarray, "n d"]:
        """Return the features sphered."""
        scaled = standardise(features, self.center, self.spread)
        turned = (scaled @ self.axes) * (self.gains - self.rest)
        return scaled * self.rest + turned @ self.axes.T


class Sphering(Correction):
    """Sphering of the controls' correlations, ZCA-cor of Kessy et al. 2018.

    Features are standardised; with the singular values s and right singular vectors V of the m
    controls, they are multiplied by sqrt(m - 1) V diag(1 / (s + epsilon)) V^T. Directions in which
    the controls do not vary take the smallest s that is not 0, as pycytominer does. With batches,
    every batch is sphered on its own controls.

    epsilon
        What is added to the singular values, so that narrow directions are not blown up.
    """

    settings: ClassVar[tuple[str, ...]] = ("epsilon",)

    def __init__(self, epsilon: float = EPSILON) -> None:
        self.epsilon = epsilon
        self.by_batch = False
        self.spheres: dict[str, Sphere] = {}

    @property
    def known(self) -> frozenset[str]:
        """The batches that it has learned."""
        return frozenset(self.spheres)

    def fit(self, controls: Float64[np.ndarray, "n d"], batches: Batches = None) -> Self:
        """Learn the sphere of every batch, and of all together, from the controls."""
        self.by_batch = batches is not None
        self.spheres = {ALL_WELLS: fit_sphere(controls, self.epsilon, ALL_WELLS)}
        return self.extend(controls, batches)

    def extend(self, controls: Float64[np.ndarray, "n d"], batches: Batches = None) -> Self:
        """Learn the spheres of the batches that are new."""
        for batch, rows in new_batches(batches, self.spheres, len(controls)):
            self.spheres[batch] = fit_sphere(controls[rows], self.epsilon, batch)
        return self

    def transform(
        self, features: Float64[np.ndarray, "n d"], batches: Batches = None
    ) -> Float64[np.ndarray, "n d"]:
        """Return the features corrected; raises ValueError for a batch that was not fitted."""
        require_known(batches, self.spheres, self.by_batch)
        corrected = np.empty_like(features)
        for batch, rows in each_batch(batches, len(features)):
            corrected[rows] = self.spheres[batch].apply(features[rows])
        return corrected

    def state(self) -> State:
        """Return what was learned."""
        spheres = list(self.spheres.values())
        return {
            "by_batch": np.array(self.by_batch),
            "centers": np.stack([sphere.center for sphere in spheres]),
            "spreads": np.stack([sphere.spread for sphere in spheres]),
            "gains": np.concatenate([sphere.gains for sphere in spheres]),
            "rests": np.array([sphere.rest for sphere in spheres]),
            **join({batch: sphere.axes for batch, sphere in self.spheres.items()}, "axes"),
        }

    def restore(self, state: State) -> Self:
        """Take what another one has learned."""
        self.by_batch, axes = bool(state["by_batch"]), split(state, "axes")
        gains = np.split(state["gains"], np.cumsum(state["axes_widths"])[:-1])
        parts = (state["centers"], state["spreads"], axes.values(), gains, state["rests"].tolist())
        spheres = (Sphere(*part) for part in zip(*parts, strict=True))
        self.spheres = dict(zip(axes, spheres, strict=True))
        return self


def fit_sphere(controls: Float64[np.ndarray, "n d"], epsilon: float, batch: str) -> Sphere:
    """Return the sphere of a batch's controls; raises ValueError where they do not differ."""
    center, spread = center_and_spread(controls)
    if not spread.any():
        raise ValueError(f"the controls of {batch} do not differ in any feature")
    scaled = (controls - center) * inverse(spread)
    # Singular values, not roots of eigenvalues: they are exact where directions are narrow. Those
    # of the triangle are those of the controls.
    tall = len(scaled) > scaled.shape[1]
    singular, axes = singular_values(np.asarray(np.linalg.qr(scaled, "r")) if tall else scaled)
    kept = singular[: len(controls) - 1] > RESOLUTION * singular[0]
    singular, axes = singular[: len(kept)][kept], axes[:, : len(kept)][:, kept]
    gains = np.sqrt(len(controls) - 1) / (singular + epsilon)
    return Sphere(center, spread, axes, gains, float(gains[-1]))
