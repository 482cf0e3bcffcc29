"""Principal axes of the controls: directions of typical variation, widest first.

Not scikit-learn's PCA: axes along which the controls do not vary are left out, and signs are fixed,
so that the same controls always give the same bytes.
"""

from typing import Self

import numpy as np
from jaxtyping import Float64

from phenomae import checks
from phenomae.correction.center_scale import RESOLUTION
from phenomae.correction.correction import State
from phenomae.correction.eigen import eigenvalues, singular_values


class PrincipalAxes:
    """Rotates features to coordinates along the controls' principal axes.

    All axes along which the controls vary are kept, or the `components` widest. There are as many
    as features, or fewer if there are fewer controls than features or features depend on each
    other. The largest loading of every axis is positive.
    """

    mean: Float64[np.ndarray, " d"]
    axes: Float64[np.ndarray, "d k"]

    def __init__(self, components: int | None = None) -> None:
        self.components = components

    def fit(self, controls: Float64[np.ndarray, "n d"]) -> Self:
        """Learn the axes.

        Raises ValueError if the controls do not differ in any feature, or `components` is more than
        the number of features.
        """
        width = controls.shape[1]
        enough = self.components is None or self.components <= width
        rule = f"at most the number of features, {width}"
        checks.require(enough, "components", rule, self.components)
        self.mean = controls.mean(axis=0)
        deviations, axes = _spectrum(controls - self.mean)
        size = np.abs(controls).max(initial=0.0)
        # Relative to the largest value, as float32 input has rounding errors of that size.
        if deviations.max(initial=0.0) <= RESOLUTION * size:
            raise ValueError("the controls do not differ in any feature")
        # Subtracting the mean leaves a rank of at most n - 1; rounding can make it look higher.
        kept = np.flatnonzero(deviations > RESOLUTION * deviations[0])[: len(controls) - 1]
        axes = axes[:, kept[: self.components]]
        # The sign of an eigenvector is arbitrary, and LAPACK's choice differs between machines.
        largest = axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])]
        self.axes = axes * np.sign(largest)
        return self

    def transform(self, features: Float64[np.ndarray, "n d"]) -> Float64[np.ndarray, "n k"]:
        """Return the coordinates along the axes."""
        return (features - self.mean) @ self.axes

    def state(self) -> State:
        """Return what was learned."""
        return {"mean": self.mean, "axes": self.axes}

    def restore(self, state: State) -> Self:
        """Set what was learned to the `state` of another one."""
        self.mean, self.axes = state["mean"], state["axes"]
        return self


def _spectrum(
    centered: Float64[np.ndarray, "n d"],
) -> tuple[Float64[np.ndarray, " k"], Float64[np.ndarray, "d k"]]:
    """Return spreads along the principal axes, widest first, and the axes."""
    count, width = centered.shape
    if count < width:  # the covariance would be larger than the data, and have no more to say
        singular, axes = singular_values(centered)
        return singular / np.sqrt(count), axes
    variances, axes = eigenvalues(centered.T @ centered / count)  # narrowest first
    return np.sqrt(np.maximum(variances[::-1], 0.0)), axes[:, ::-1]
