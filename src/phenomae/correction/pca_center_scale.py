"""PCA, then center-scale: the minimum that the model card of the public model asks for."""

from typing import Self

import numpy as np
from jaxtyping import Float64

from phenomae import checks
from phenomae.correction.batches import Batches
from phenomae.correction.center_scale import CenterScale
from phenomae.correction.correction import ControlCorrection, State
from phenomae.correction.principal_axes import PrincipalAxes


class PcaCenterScale(ControlCorrection):
    """Principal axes of all controls, then center-scale of each batch on its own controls.

    components
        Number of axes to keep, the widest; None keeps all along which the controls vary.
    """

    name = "pca-center-scale"
    keeps_features = False

    axes_: PrincipalAxes
    scale_: CenterScale

    def __init__(self, components: int | None = None) -> None:
        self.components = components

    def check_parameters(self) -> None:
        """Raise ValueError unless components is None or at least 1."""
        checks.at_least("components", self.components, 1)

    @property
    def known(self) -> frozenset[str]:
        """The batches that it has learned."""
        return self.scale_.known

    def learn(self, controls: Float64[np.ndarray, "m d"], batches: Batches = None) -> Self:
        """Learn the axes from all controls, mean and spread from those of each batch."""
        self.axes_ = PrincipalAxes(self.components).fit(controls)
        self.scale_ = CenterScale().learn(self.axes_.transform(controls), batches)
        return self

    def learn_new(self, controls: Float64[np.ndarray, "m d"], batches: Batches = None) -> Self:
        """Learn mean and spread of the batches that are new, along the same axes."""
        self.scale_.learn_new(self.axes_.transform(controls), batches)
        return self

    def apply(
        self, features: Float64[np.ndarray, "n d"], batches: Batches = None
    ) -> Float64[np.ndarray, "n k"]:
        """Return wells corrected; raises ValueError for a batch that was not learned."""
        return self.scale_.apply(self.axes_.transform(features), batches)

    def state(self) -> State:
        """Return what was learned."""
        return self.axes_.state() | self.scale_.state()

    def restore(self, state: State) -> Self:
        """Set what was learned to the `state` of another one."""
        self.axes_ = PrincipalAxes(self.components).restore(state)
        self.scale_ = CenterScale().restore(state)
        return self
