"""PCA, then center-scale: the least that the card of the public model asks for."""

import numpy as np
from jaxtyping import Float64

from phenomae.correct.batches import Batches
from phenomae.correct.center_scale import CenterScale
from phenomae.correct.principal_axes import PrincipalAxes


class PcaCenterScale:
    """Principal axes of all controls, then center-scale of every batch on its own controls."""

    def __init__(self) -> None:
        self.axes = PrincipalAxes()
        self.scale = CenterScale()

    def fit(
        self, controls: Float64[np.ndarray, "n d"], batches: Batches = None
    ) -> "PcaCenterScale":
        """Learn the axes from all controls, center and spread from every batch's."""
        self.axes.fit(controls)
        self.scale.fit(self.axes.transform(controls), batches)
        return self

    def transform(
        self, features: Float64[np.ndarray, "n d"], batches: Batches = None
    ) -> Float64[np.ndarray, "n k"]:
        """Return the features corrected; raises ValueError for a batch that was not fitted."""
        return self.scale.transform(self.axes.transform(features), batches)
