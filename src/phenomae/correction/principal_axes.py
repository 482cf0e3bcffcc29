"""Principal axes of the controls: directions of typical variation, widest first."""

from typing import Self

import numpy as np
from jaxtyping import Float64

from phenomae.correction.center_scale import RESOLUTION
from phenomae.correction.correction import State
from phenomae.correction.eigen import eigenvalues, singular_values


class PrincipalAxes:
    """Turns features into coordinates along the controls' principal axes.

    All axes along which the controls vary are kept, or the `components` widest: as many as
    features, or fewer where there are fewer controls than features or features depend on each
    other. Every axis points to where its largest loading is positive, so that the same controls
    always give the same signs.
    """

    mean: Float64[np.ndarray, " d"]
    axes: Float64[np.ndarray, "d k"]

    def __init__(self, components: int | None = None) -> None:
        self.components = components

    def fit(self, controls: Float64[np.ndarray, "n d"]) -> Self:
        """Learn the axes; raises ValueError where the controls do not differ in any feature.

        Raises ValueError, too, where more `components` are wanted than there are features.
        """
        if self.components is not None and self.components > controls.shape[1]:
            raise ValueError(
                f"--components {self.components} is too many: there are only "
                f"{controls.shape[1]} features"
            )
        self.mean = controls.mean(axis=0)
        deviations, axes = _spectrum(controls - self.mean)
        size = np.abs(controls).max(initial=0.0)
        if deviations.max(initial=0.0) <= RESOLUTION * size:
            raise ValueError("the controls do not differ in any feature")
        # The rank is at most n - 1, whatever rounding says.
        kept = np.flatnonzero(deviations > RESOLUTION * deviations[0])[: len(controls) - 1]
        axes = axes[:, kept[: self.components]]
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
        """Take what another one has learned."""
        self.mean, self.axes = state["mean"], state["axes"]
        return self


def _spectrum(
    centered: Float64[np.ndarray, "n d"],
) -> tuple[Float64[np.ndarray, " k"], Float64[np.ndarray, "d k"]]:
    """Return spreads along the principal axes, widest first, and the axes."""
    count, width = centered.shape
    if count < width:
        singular, axes = singular_values(centered)
        return singular / np.sqrt(count), axes
    variances, axes = eigenvalues(centered.T @ centered / count)  # the narrowest first
    return np.sqrt(np.maximum(variances[::-1], 0.0)), axes[:, ::-1]
