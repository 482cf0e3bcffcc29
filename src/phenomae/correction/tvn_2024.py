"""TVN as the repository of the EFAAR benchmark codes it since November 2024.

Two steps differ from `tvn`, which is its package of August 2024: each batch is standardised on its
own controls, which removes shifts between batches, and after its covariance has been removed each
batch gets that of all controls (recolouring, the second half of CORAL).
"""

from typing import Self

import numpy as np
from jaxtyping import Float64

from phenomae.correction.batches import ALL_WELLS, Batches, each_batch, new_batches, require_known
from phenomae.correction.center_scale import CenterScale, center_and_spread, inverse
from phenomae.correction.correction import State
from phenomae.correction.eigen import eigenvalues
from phenomae.correction.principal_axes import PrincipalAxes
from phenomae.correction.tvn import TVN, divide_by_root, whitening_factor


class TVN2024(TVN):
    """Typical variation normalisation, as in the EFAAR benchmark since November 2024.

    Wells are standardised on all controls, rotated to the principal axes of all controls, and
    standardised on the controls of their batch. The wells of each batch are then multiplied by
    (C + ridge I)^(-1/2) (T + ridge I)^(1/2), where C is the unbiased covariance of the batch's
    controls and T that of the controls of all batches, both of standardised controls (CORAL, Sun
    et al. 2016). Without batches the result is that of `TVN`.

    ridge
        Added to the diagonals of both covariances; 0.5 in the public benchmark.
    components
        Number of principal axes to keep, as in `TVN`.
    """

    name = "tvn-2024"

    scale_: CenterScale
    root_: Float64[np.ndarray, "k k"]
    """The square root of T + ridge I; empty without batches."""

    def learn(self, controls: Float64[np.ndarray, "m d"], batches: Batches = None) -> Self:
        """Fit on the controls; without `batches` they are standardised as one batch.

        Raises ValueError if the controls of a batch do not differ in any feature.
        """
        self.center_, spread = center_and_spread(controls)
        scaled = (controls - self.center_) * inverse(spread)
        axes = PrincipalAxes(self.components).fit(scaled).axes
        self.matrix_ = inverse(spread)[:, None] * axes
        rotated = (controls - self.center_) @ self.matrix_
        self.scale_ = CenterScale().learn(rotated, batches)
        self.by_batch_, self.factors_, self.root_ = batches is not None, {}, np.zeros((0, 0))
        if batches is not None:
            self.root_ = root(self.scale_.apply(rotated, batches), self.ridge)
            # Wells of batches with too few controls belong to a batch of all controls.
            self._learn_batch(ALL_WELLS, rotated)
            self.learn_new(controls, batches)
        return self

    def learn_new(self, controls: Float64[np.ndarray, "m d"], batches: Batches = None) -> Self:
        """Standardise new batches and estimate their covariances; T and axes do not change."""
        if self.by_batch_:
            rotated = (controls - self.center_) @ self.matrix_
            self.scale_.learn_new(rotated, batches)
            for batch, rows in new_batches(batches, self.factors_, len(rotated)):
                self._learn_batch(batch, rotated[rows])
        return self

    def apply(
        self, features: Float64[np.ndarray, "n d"], batches: Batches = None
    ) -> Float64[np.ndarray, "n k"]:
        """Return the corrected wells; raises ValueError for a batch that was not fitted."""
        require_known(batches, self.factors_ if self.by_batch_ else [ALL_WELLS], self.by_batch_)
        own = batches if self.by_batch_ else None
        corrected = self.scale_.apply((features - self.center_) @ self.matrix_, own)
        if own is not None:
            for batch, rows in each_batch(own, len(features)):
                whitened = divide_by_root(corrected[rows], self.factors_[batch], self.ridge)
                corrected[rows] = whitened @ self.root_
        return corrected

    def state(self) -> State:
        """Return the fitted parameters as arrays by name."""
        scale = {f"scale_{name}": array for name, array in self.scale_.state().items()}
        return super().state() | {"root": self.root_} | scale

    def restore(self, state: State) -> Self:
        """Set the fitted parameters to the `state` of a TVN2024 with the same ridge."""
        prefix = "scale_"
        own = {name.removeprefix(prefix): state[name] for name in state if name.startswith(prefix)}
        self.scale_, self.root_ = CenterScale().restore(own), state["root"]
        return super().restore(state)

    def _learn_batch(self, batch: str, rotated: Float64[np.ndarray, "m k"]) -> None:
        named = np.full(len(rotated), batch)
        self.factors_[batch] = whitening_factor(self.scale_.apply(rotated, named), self.ridge)


def root(controls: Float64[np.ndarray, "m k"], ridge: float) -> Float64[np.ndarray, "k k"]:
    """Return (cov(controls) + ridge I)^(1/2), with the unbiased covariance."""
    centered = (controls - controls.mean(axis=0)) / np.sqrt(len(controls) - 1)
    values, vectors = eigenvalues(centered.T @ centered)
    return vectors * np.sqrt(np.maximum(values, 0.0) + ridge) @ vectors.T
