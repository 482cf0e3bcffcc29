"""Center-scale: every feature of a batch in units of the spread of the batch's controls."""

import numpy as np
from jaxtyping import Bool, Float64

from phenomae.correct.batches import Batches, each_batch, require_known

# Features come as float32. A spread below this share of their size (or of the widest direction's
# spread) is rounding, and dividing by it would turn rounding into signal.
RESOLUTION = 1e-6


class CenterScale:
    """Subtracts the mean of a batch's controls, then divides by their (biased) spread.

    A feature that does not vary among a batch's controls has no scale there and becomes 0.
    """

    def __init__(self) -> None:
        self.centers: dict[str, Float64[np.ndarray, " d"]] = {}
        self.spreads: dict[str, Float64[np.ndarray, " d"]] = {}

    def fit(self, controls: Float64[np.ndarray, "n d"], batches: Batches = None) -> "CenterScale":
        """Learn center and spread of every batch from its controls.

        Raises ValueError where the controls of a batch do not differ in any feature.
        """
        for batch, rows in each_batch(batches, len(controls)):
            center, spread = center_and_spread(controls[rows])
            if not spread.any():
                raise ValueError(f"the controls of {batch} do not differ in any feature")
            self.centers[batch], self.spreads[batch] = center, spread
        return self

    def transform(
        self, features: Float64[np.ndarray, "n d"], batches: Batches = None
    ) -> Float64[np.ndarray, "n d"]:
        """Return the features corrected; raises ValueError for a batch that was not fitted."""
        require_known(batches, self.centers)
        corrected = np.empty_like(features)
        for batch, rows in each_batch(batches, len(features)):
            corrected[rows] = standardise(features[rows], self.centers[batch], self.spreads[batch])
        return corrected


def center_and_spread(
    controls: Float64[np.ndarray, "n d"],
) -> tuple[Float64[np.ndarray, " d"], Float64[np.ndarray, " d"]]:
    """Return mean and biased standard deviation; the spread of a constant feature is exactly 0."""
    center, spread = controls.mean(axis=0), controls.std(axis=0)
    varies: Bool[np.ndarray, " d"] = spread > RESOLUTION * np.abs(controls).max(axis=0)
    return center, np.where(varies, spread, 0.0)


def standardise(
    features: Float64[np.ndarray, "n d"],
    center: Float64[np.ndarray, " d"],
    spread: Float64[np.ndarray, " d"],
) -> Float64[np.ndarray, "n d"]:
    """Return (features - center) / spread, and 0 where the spread is 0."""
    return np.divide(features - center, spread, out=np.zeros_like(features), where=spread > 0)
