"""What every correction can do: learn from controls, correct, go on to new batches, be saved."""

from abc import ABC, abstractmethod
from typing import ClassVar, Self

import numpy as np
from jaxtyping import Float64, Shaped

from phenomae.correction.batches import LEAST_CONTROLS, Batches

State = dict[str, Shaped[np.ndarray, "..."]]
"""All that a correction has learned, as arrays by name."""


class Correction(ABC):
    """Takes out of all wells what varies among the controls without a reason."""

    settings: ClassVar[tuple[str, ...]] = ()
    """Names of the settings it takes."""
    least_controls: ClassVar[int] = LEAST_CONTROLS
    """Controls that every batch needs."""
    spares_batches: ClassVar[bool] = True
    """Whether batches may be left out, so that all wells are one."""

    @property
    @abstractmethod
    def known(self) -> frozenset[str]:
        """The batches that it has learned."""

    @abstractmethod
    def fit(self, controls: Float64[np.ndarray, "n d"], batches: Batches = None) -> Self:
        """Learn from the controls; `batches` says of each to which batch it belongs."""

    @abstractmethod
    def transform(
        self, features: Float64[np.ndarray, "n d"], batches: Batches = None
    ) -> Float64[np.ndarray, "n k"]:
        """Return the features corrected; raises ValueError for a batch that was not fitted."""

    def fit_transform(
        self, controls: Float64[np.ndarray, "n d"], batches: Batches = None
    ) -> Float64[np.ndarray, "n k"]:
        """Learn from the controls and return them corrected."""
        return self.fit(controls, batches).transform(controls, batches)

    @abstractmethod
    def extend(self, controls: Float64[np.ndarray, "n d"], batches: Batches = None) -> Self:
        """Learn the batches that are new from their controls; all that was learned stays."""

    @abstractmethod
    def state(self) -> State:
        """Return what was learned."""

    @abstractmethod
    def restore(self, state: State) -> Self:
        """Take what another one of the same settings has learned."""
