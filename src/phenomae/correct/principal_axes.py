"""Principal axes of the controls: directions of typical variation, widest first."""

import numpy as np
from jaxtyping import Float64

from phenomae.correct.center_scale import RESOLUTION


class PrincipalAxes:
    """Turns features into coordinates along the controls' principal axes.

    All axes along which the controls vary are kept: as many as features, or fewer where there are
    fewer controls than features or features depend on each other. Every axis points to where its
    largest loading is positive, so that the same controls always give the same signs.
    """

    mean: Float64[np.ndarray, " d"]
    axes: Float64[np.ndarray, "d k"]

    def fit(self, controls: Float64[np.ndarray, "n d"]) -> "PrincipalAxes":
        """Learn the axes; raises ValueError where the controls do not differ in any feature."""
        self.mean = controls.mean(axis=0)
        centered = controls - self.mean
        variances, axes = np.linalg.eigh(centered.T @ centered / len(controls))
        size = np.abs(controls).max(initial=0.0)
        if variances[-1] <= (RESOLUTION * size) ** 2:
            raise ValueError("the controls do not differ in any feature")
        # eigh gives the narrowest first; rank is at most n - 1 whatever rounding says.
        kept = np.flatnonzero(variances > RESOLUTION**2 * variances[-1])[::-1][: len(controls) - 1]
        axes = axes[:, kept]
        largest = axes[np.abs(axes).argmax(axis=0), np.arange(len(kept))]
        self.axes = axes * np.sign(largest)
        return self

    def transform(self, features: Float64[np.ndarray, "n d"]) -> Float64[np.ndarray, "n k"]:
        """Return the coordinates along the axes."""
        return (features - self.mean) @ self.axes
