"""Center-scale: each feature of a batch in units of the standard deviation of the batch's controls.

It takes two numbers per feature and batch from the controls, fewer than any other method, so it is
the one to use if batches have few controls.
"""

from typing import Self

import numpy as np
from jaxtyping import Bool, Float64

from phenomae.correction.batches import ALL_WELLS, Batches, each_batch, new_batches, require_known
from phenomae.correction.correction import ControlCorrection, State

# Features come as float32. A spread below this fraction of their size (or of the widest direction's
# spread) is rounding error, and dividing by it would turn rounding error into signal.
RESOLUTION = 1e-6


class CenterScale(ControlCorrection):
    """Subtracts the mean of a batch's controls, then divides by their (biased) standard deviation.

    A feature that does not vary among a batch's controls has no scale there and becomes 0.
    """

    name = "center-scale"

    by_batch_: bool
    centers_: dict[str, Float64[np.ndarray, " d"]]
    spreads_: dict[str, Float64[np.ndarray, " d"]]

    @property
    def known(self) -> frozenset[str]:
        """The batches that it has learned."""
        return frozenset(self.centers_)

    def learn(self, controls: Float64[np.ndarray, "m d"], batches: Batches = None) -> Self:
        """Learn mean and spread of each batch, and of all together, from the controls.

        Raises ValueError if the controls of a batch do not differ in any feature.
        """
        self.by_batch_ = batches is not None
        self.centers_, self.spreads_ = {}, {}
        # Batches come before ALL_WELLS, so that an error about constant controls names the batch.
        self.learn_new(controls, batches)
        self._learn_batch(ALL_WELLS, controls)
        return self

    def learn_new(self, controls: Float64[np.ndarray, "m d"], batches: Batches = None) -> Self:
        """Learn mean and spread of the batches that are new."""
        for batch, rows in new_batches(batches, self.centers_, len(controls)):
            self._learn_batch(batch, controls[rows])
        return self

    def apply(
        self, features: Float64[np.ndarray, "n d"], batches: Batches = None
    ) -> Float64[np.ndarray, "n d"]:
        """Return wells corrected; raises ValueError for a batch that was not learned."""
        require_known(batches, self.centers_, self.by_batch_)
        if batches is None:
            return standardise(features, self.centers_[ALL_WELLS], self.spreads_[ALL_WELLS])
        corrected = np.empty_like(features)
        for batch, rows in each_batch(batches, len(features)):
            center, spread = self.centers_[batch], self.spreads_[batch]
            corrected[rows] = standardise(features[rows], center, spread)
        return corrected

    def state(self) -> State:
        """Return what was learned."""
        return {
            "by_batch": np.array(self.by_batch_),
            "batches": np.array(list(self.centers_)),
            "centers": np.stack(list(self.centers_.values())),
            "spreads": np.stack(list(self.spreads_.values())),
        }

    def restore(self, state: State) -> Self:
        """Set what was learned to the `state` of another one."""
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
    """Return mean and biased standard deviation; the spread of a constant feature is exactly 0."""
    center, spread = controls.mean(axis=0), controls.std(axis=0)
    # Relative to the largest value: a constant of 1e6 has a spread of rounding errors, not 0.
    size = np.maximum(controls.max(axis=0), -controls.min(axis=0))
    varies: Bool[np.ndarray, " d"] = spread > RESOLUTION * size
    return center, np.where(varies, spread, 0.0)


def standardise(
    features: Float64[np.ndarray, "n d"],
    center: Float64[np.ndarray, " d"],
    spread: Float64[np.ndarray, " d"],
) -> Float64[np.ndarray, "n d"]:
    """Return (features - center) / spread, and 0 where the spread is 0."""
    return (features - center) * inverse(spread)


def inverse(spread: Float64[np.ndarray, " d"]) -> Float64[np.ndarray, " d"]:
    """Return 1 / spread, and 0 where the spread is 0."""
    return np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0)
