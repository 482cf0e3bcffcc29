"""Principal axes of the controls, ordered by decreasing variance.

Unlike scikit-learn's PCA, `PrincipalAxes` leaves out axes along which the controls do not vary. The
sign of each axis is fixed, as the sign of an eigenvector is arbitrary.
"""

from typing import Self

import numpy as np
from jaxtyping import Float64

from phenomae import checks
from phenomae.correction.center_scale import RESOLUTION
from phenomae.correction.correction import State
from phenomae.correction.eigen import eigenvalues, singular_values

Components = int | str | None
"""How many principal axes are kept: a number, `auto`, or `all` (or None, as in scikit-learn)."""
AUTO, ALL = "auto", "all"
_AUTO = 64


def check_components(components: Components) -> None:
    """Raise ValueError unless `components` is at least 1, auto, all or None."""
    if isinstance(components, str):
        checks.one_of("components", components, (AUTO, ALL))
    else:
        checks.at_least("components", components, 1)


def count_axes(components: Components, controls: int, width: int) -> int:
    """Return how many axes of `width` features to keep.

    `auto` is 64, or two thirds of the controls, or the number of features, whichever is the least.
    If there are about as many controls as features, the narrowest axes are noise of these wells,
    and after scaling they dominate all distances: recall .25 with all axes and .80 with 64, on 336
    controls and 336 features (docs/log.md, 2026-11-30).

    Raises ValueError if a number is larger than the number of features.
    """
    if components is None or components == ALL:
        return width
    if isinstance(components, str):
        return min(_AUTO, max(1, 2 * controls // 3), width)
    rule = f"at most the number of features, {width}"
    checks.require(components <= width, "components", rule, components)
    return components


class PrincipalAxes:
    """Rotates features to coordinates along the controls' principal axes.

    The axes are those along which the controls vary, or the `count_axes` axes of largest variance.
    There are fewer axes than features if there are at most as many controls as features, or if
    features are linearly dependent. The loading with the largest absolute value is positive on
    every axis.
    """

    mean: Float64[np.ndarray, " d"]
    axes: Float64[np.ndarray, "d k"]

    def __init__(self, components: Components = ALL) -> None:
        self.components = components

    def fit(self, controls: Float64[np.ndarray, "n d"]) -> Self:
        """Compute the axes of the controls.

        Raises ValueError if the controls do not differ in any feature, or if `components` is larger
        than the number of features.
        """
        count = count_axes(self.components, *controls.shape)
        self.mean = controls.mean(axis=0)
        deviations, axes = _spectrum(controls - self.mean)
        size = np.abs(controls).max(initial=0.0)
        # The threshold is relative to the largest value, because the rounding errors of float32
        # input are proportional to the value.
        if deviations.max(initial=0.0) <= RESOLUTION * size:
            raise ValueError("the controls do not differ in any feature")
        # The centred matrix has rank n - 1 at most; rounding errors can make it appear higher.
        kept = np.flatnonzero(deviations > RESOLUTION * deviations[0])[: len(controls) - 1]
        axes = axes[:, kept[:count]]
        # The sign of an eigenvector is arbitrary, and LAPACK's choice differs between machines.
        largest = axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])]
        self.axes = axes * np.sign(largest)
        return self

    def transform(self, features: Float64[np.ndarray, "n d"]) -> Float64[np.ndarray, "n k"]:
        """Return the coordinates of the wells along the axes."""
        return (features - self.mean) @ self.axes

    def state(self) -> State:
        """Return mean and axes as arrays by name."""
        return {"mean": self.mean, "axes": self.axes}

    def restore(self, state: State) -> Self:
        """Set mean and axes to the `state` of another object of this class."""
        self.mean, self.axes = state["mean"], state["axes"]
        return self


def _spectrum(
    centered: Float64[np.ndarray, "n d"],
) -> tuple[Float64[np.ndarray, " k"], Float64[np.ndarray, "d k"]]:
    """Return standard deviations along the principal axes, in descending order, and the axes."""
    count, width = centered.shape
    # With fewer rows than columns the covariance matrix (d x d) is larger than the data.
    if count < width:
        singular, axes = singular_values(centered)
        return singular / np.sqrt(count), axes
    variances, axes = eigenvalues(centered.T @ centered / count)  # in ascending order
    return np.sqrt(np.maximum(variances[::-1], 0.0)), axes[:, ::-1]
