"""PCA, then center-scale: the minimal correction that the public model's card recommends."""

from typing import Self

import numpy as np
from jaxtyping import Float64

from phenomae import checks
from phenomae.correction.batches import Batches
from phenomae.correction.center_scale import CenterScale
from phenomae.correction.correction import ControlCorrection, State
from phenomae.correction.principal_axes import AUTO, PrincipalAxes, check_components


class PcaCenterScale(ControlCorrection):
    """Rotates wells to the principal axes of all controls, then center-scales each batch.

    The center-scale step uses the batch's own controls.

    components
        Number of principal axes to keep, by decreasing variance. "auto": 64, or two thirds of the
        controls if these are fewer; "all": all axes along which the controls vary.
    """

    name = "pca-center-scale"
    keeps_features = False

    axes_: PrincipalAxes
    scale_: CenterScale

    def __init__(self, components: int | str | None = AUTO) -> None:
        self.components = components

    def check_parameters(self) -> None:
        """Raise ValueError unless `components` is at least 1, auto or all."""
        self.components = checks.whole_number("components", self.components)
        check_components(self.components)

    @property
    def known(self) -> frozenset[str]:
        """The batches that this correction was fitted on."""
        return self.scale_.known

    def learn(self, controls: Float64[np.ndarray, "m d"], batches: Batches = None) -> Self:
        """Fit the axes on all controls, then center-scale on each batch's controls."""
        self.axes_ = PrincipalAxes(self.components).fit(controls)
        self.scale_ = CenterScale().learn(self.axes_.transform(controls), batches)
        return self

    def learn_new(self, controls: Float64[np.ndarray, "m d"], batches: Batches = None) -> Self:
        """Estimate mean and standard deviation of new batches along the existing axes."""
        self.scale_.learn_new(self.axes_.transform(controls), batches)
        return self

    def apply(
        self, features: Float64[np.ndarray, "n d"], batches: Batches = None
    ) -> Float64[np.ndarray, "n k"]:
        """Return the corrected wells; raises ValueError for a batch that was not fitted."""
        return self.scale_.apply(self.axes_.transform(features), batches)

    def state(self) -> State:
        """Return the fitted parameters as arrays by name."""
        return self.axes_.state() | self.scale_.state()

    def restore(self, state: State) -> Self:
        """Set the fitted parameters to the `state` of another correction of this class."""
        self.axes_ = PrincipalAxes(self.components).restore(state)
        self.scale_ = CenterScale().restore(state)
        return self
