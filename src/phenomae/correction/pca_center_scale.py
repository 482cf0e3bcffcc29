"""PCA, then center-scale: the least that the card of the public model asks for."""

from typing import ClassVar, Self

import numpy as np
from jaxtyping import Float64

from phenomae.correction.batches import Batches
from phenomae.correction.center_scale import CenterScale
from phenomae.correction.correction import Correction, State
from phenomae.correction.principal_axes import PrincipalAxes


class PcaCenterScale(Correction):
    """Principal axes of all controls, then center-scale of every batch on its own controls.

    components
        How many axes are kept, the widest; None keeps all along which the controls vary.
    """

    settings: ClassVar[tuple[str, ...]] = ("components",)

    def __init__(self, components: int | None = None) -> None:
        self.axes = PrincipalAxes(components)
        self.scale = CenterScale()

    @property
    def known(self) -> frozenset[str]:
        """The batches that it has learned."""
        return self.scale.known

    def fit(self, controls: Float64[np.ndarray, "n d"], batches: Batches = None) -> Self:
        """Learn the axes from all controls, center and spread from every batch's."""
        self.axes.fit(controls)
        self.scale.fit(self.axes.transform(controls), batches)
        return self

    def extend(self, controls: Float64[np.ndarray, "n d"], batches: Batches = None) -> Self:
        """Learn center and spread of the batches that are new, along the axes as they are."""
        self.scale.extend(self.axes.transform(controls), batches)
        return self

    def transform(
        self, features: Float64[np.ndarray, "n d"], batches: Batches = None
    ) -> Float64[np.ndarray, "n k"]:
        """Return the features corrected; raises ValueError for a batch that was not fitted."""
        return self.scale.transform(self.axes.transform(features), batches)

    def state(self) -> State:
        """Return what was learned."""
        return self.axes.state() | self.scale.state()

    def restore(self, state: State) -> Self:
        """Take what another one has learned."""
        self.axes.restore(state)
        self.scale.restore(state)
        return self
