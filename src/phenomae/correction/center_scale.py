"""Center-scale: every feature of a batch in units of the spread of the batch's controls."""

from typing import Self

import numpy as np
from jaxtyping import Bool, Float64

from phenomae.correction.batches import ALL_WELLS, Batches, each_batch, new_batches, require_known
from phenomae.correction.correction import Correction, State

# Features come as float32. A spread below this share of their size (or of the widest direction's
# spread) is rounding, and dividing by it would turn rounding into signal.
RESOLUTION = 1e-6


class CenterScale(Correction):
    """Subtracts the mean of a batch's controls, then divides by their (biased) spread.

    A feature that does not vary among a batch's controls has no scale there and becomes 0.
    """

    def __init__(self) -> None:
        self.by_batch = False
        self.centers: dict[str, Float64[np.ndarray, " d"]] = {}
        self.spreads: dict[str, Float64[np.ndarray, " d"]] = {}

    @property
    def known(self) -> frozenset[str]:
        """The batches that it has learned."""
        return frozenset(self.centers)

    def fit(self, controls: Float64[np.ndarray, "n d"], batches: Batches = None) -> Self:
        """Learn center and spread of every batch, and of all together, from the controls.

        Raises ValueError where the controls of a batch do not differ in any feature.
        """
        self.by_batch = batches is not None
        self.centers, self.spreads = {}, {}
        self.extend(controls, batches)  # first, so that a batch in trouble is called by its name
        self._learn(ALL_WELLS, controls)
        return self

    def extend(self, controls: Float64[np.ndarray, "n d"], batches: Batches = None) -> Self:
        """Learn center and spread of the batches that are new."""
        for batch, rows in new_batches(batches, self.centers, len(controls)):
            self._learn(batch, controls[rows])
        return self

    def transform(
        self, features: Float64[np.ndarray, "n d"], batches: Batches = None
    ) -> Float64[np.ndarray, "n d"]:
        """Return the features corrected; raises ValueError for a batch that was not fitted."""
        require_known(batches, self.centers, self.by_batch)
        if batches is None:
            return standardise(features, self.centers[ALL_WELLS], self.spreads[ALL_WELLS])
        corrected = np.empty_like(features)
        for batch, rows in each_batch(batches, len(features)):
            corrected[rows] = standardise(features[rows], self.centers[batch], self.spreads[batch])
        return corrected

    def state(self) -> State:
        """Return what was learned."""
        return {
            "by_batch": np.array(self.by_batch),
            "batches": np.array(list(self.centers)),
            "centers": np.stack(list(self.centers.values())),
            "spreads": np.stack(list(self.spreads.values())),
        }

    def restore(self, state: State) -> Self:
        """Take what another one has learned."""
        self.by_batch, names = bool(state["by_batch"]), state["batches"].tolist()
        self.centers = dict(zip(names, state["centers"], strict=True))
        self.spreads = dict(zip(names, state["spreads"], strict=True))
        return self

    def _learn(self, batch: str, controls: Float64[np.ndarray, "n d"]) -> None:
        center, spread = center_and_spread(controls)
        if not spread.any():
            raise ValueError(f"the controls of {batch} do not differ in any feature")
        self.centers[batch], self.spreads[batch] = center, spread


def center_and_spread(
    controls: Float64[np.ndarray, "n d"],
) -> tuple[Float64[np.ndarray, " d"], Float64[np.ndarray, " d"]]:
    """Return mean and biased standard deviation; the spread of a constant feature is exactly 0."""
    center, spread = controls.mean(axis=0), controls.std(axis=0)
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
