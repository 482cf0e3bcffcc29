"""Center-scale: standardises each feature with the mean and standard deviation of the controls.

Center-scale estimates only two numbers per feature and batch, fewer than any other method here, so
it is the method to use if batches have few controls.
"""

from typing import Self

import numpy as np
from jaxtyping import Bool, Float64

from phenomae.correction.batches import ALL_WELLS, Batches, each_batch, new_batches, require_known
from phenomae.correction.correction import ControlCorrection, State

# Features are read as float32. A standard deviation below this fraction of the largest absolute
# value (or of the largest standard deviation, for principal axes) is rounding error; dividing by it
# would amplify rounding error to the size of a signal.
RESOLUTION = 1e-6


class CenterScale(ControlCorrection):
    """Subtracts the mean of a batch's controls, then divides by their (biased) standard deviation.

    A feature that does not vary among the controls of a batch becomes 0 for all wells of the batch.
    """

    name = "center-scale"

    by_batch_: bool
    centers_: dict[str, Float64[np.ndarray, " d"]]
    spreads_: dict[str, Float64[np.ndarray, " d"]]

    @property
    def known(self) -> frozenset[str]:
        """The batches that this correction was fitted on."""
        return frozenset(self.centers_)

    def learn(self, controls: Float64[np.ndarray, "m d"], batches: Batches = None) -> Self:
        """Estimate mean and standard deviation of the controls, per batch and over all controls.

        Raises ValueError if the controls of a batch do not differ in any feature.
        """
        self.by_batch_ = batches is not None
        self.centers_, self.spreads_ = {}, {}
        # Batches are fitted before ALL_WELLS, so that an error about constant controls names the
        # batch.
        self.learn_new(controls, batches)
        self._learn_batch(ALL_WELLS, controls)
        return self

    def learn_new(self, controls: Float64[np.ndarray, "m d"], batches: Batches = None) -> Self:
        """Estimate mean and standard deviation of the controls of new batches."""
        for batch, rows in new_batches(batches, self.centers_, len(controls)):
            self._learn_batch(batch, controls[rows])
        return self

    def apply(
        self, features: Float64[np.ndarray, "n d"], batches: Batches = None
    ) -> Float64[np.ndarray, "n d"]:
        """Return the corrected wells; raises ValueError for a batch that was not fitted."""
        require_known(batches, self.centers_, self.by_batch_)
        if batches is None:
            return standardise(features, self.centers_[ALL_WELLS], self.spreads_[ALL_WELLS])
        corrected = np.empty_like(features)
        for batch, rows in each_batch(batches, len(features)):
            center, spread = self.centers_[batch], self.spreads_[batch]
            corrected[rows] = standardise(features[rows], center, spread)
        return corrected

    def state(self) -> State:
        """Return the fitted parameters as arrays by name."""
        return {
            "by_batch": np.array(self.by_batch_),
            "batches": np.array(list(self.centers_)),
            "centers": np.stack(list(self.centers_.values())),
            "spreads": np.stack(list(self.spreads_.values())),
        }

    def restore(self, state: State) -> Self:
        """Set the fitted parameters to the `state` of another correction of this class."""
        self.by_batch_, names = bool(state["by_batch"]), state["batches"].tolist()
        self.centers_ = dict(zip(names, state["centers"], strict=True))
        self.spreads_ = dict(zip(names, state["spreads"], strict=True))
        return self

    def _learn_batch(self, batch: str, controls: Float64[np.ndarray, "m d"]) -> None:
        center, spread = center_and_spread(controls)
        if not spread.any():
            raise ValueError(f"the controls of {batch} do not differ in any feature")
        self.centers_[batch], self.spreads_[batch] = center, spread


def center_and_spread(
    controls: Float64[np.ndarray, "m d"],
) -> tuple[Float64[np.ndarray, " d"], Float64[np.ndarray, " d"]]:
    """Return mean and biased standard deviation of each feature.

    The standard deviation of a constant feature is exactly 0.
    """
    center, spread = controls.mean(axis=0), controls.std(axis=0)
    # The threshold is relative to the largest value, because the computed standard deviation of a
    # constant 1e6 is rounding error and not 0.
    size = np.maximum(controls.max(axis=0), -controls.min(axis=0))
    varies: Bool[np.ndarray, " d"] = spread > RESOLUTION * size
    return center, np.where(varies, spread, 0.0)


def standardise(
    features: Float64[np.ndarray, "n d"],
    center: Float64[np.ndarray, " d"],
    spread: Float64[np.ndarray, " d"],
) -> Float64[np.ndarray, "n d"]:
    """Return (features - center) / spread, with 0 for features whose spread is 0."""
    return (features - center) * inverse(spread)


def inverse(spread: Float64[np.ndarray, " d"]) -> Float64[np.ndarray, " d"]:
    """Return 1 / spread, with 0 for features whose spread is 0."""
    return np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0)
