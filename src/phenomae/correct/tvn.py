"""Typical variation normalisation: what varies among controls is made small and alike."""

import numpy as np
from jaxtyping import Float64

from phenomae.correct.batches import Batches, each_batch, require_known
from phenomae.correct.center_scale import CenterScale
from phenomae.correct.principal_axes import PrincipalAxes


class TVN:
    """Typical variation normalisation (Ando et al. 2017), as the public EFAAR benchmark codes it.

    Standardise on all controls, turn to their principal axes, standardise on all controls again.
    Where batches are given, each is then multiplied by
    (cov(its controls) + ridge I)^(-1/2), with the unbiased covariance (CORAL, Sun et al. 2016).

    ridge
        What is added to the covariance's diagonal; 0.5 in the public benchmark.
    """

    def __init__(self, ridge: float = 0.5) -> None:
        self.ridge = ridge
        self.first = CenterScale()
        self.axes = PrincipalAxes()
        self.second = CenterScale()
        self.whiteners: dict[str, Float64[np.ndarray, "k k"]] = {}

    def fit(self, controls: Float64[np.ndarray, "n d"], batches: Batches = None) -> "TVN":
        """Learn from the controls; `batches` of None leaves the step per batch out."""
        scaled = self.first.fit(controls).transform(controls)
        turned = self.axes.fit(scaled).transform(scaled)
        whitened = self.second.fit(turned).transform(turned)
        if batches is not None:
            for batch, rows in each_batch(batches, len(controls)):
                self.whiteners[batch] = whitener(whitened[rows], self.ridge)
        return self

    def transform(
        self, features: Float64[np.ndarray, "n d"], batches: Batches = None
    ) -> Float64[np.ndarray, "n k"]:
        """Return the features corrected; raises ValueError for a batch that was not fitted."""
        turned = self.axes.transform(self.first.transform(features))
        corrected = self.second.transform(turned)
        if batches is not None:
            require_known(batches, self.whiteners)
            for batch, rows in each_batch(batches, len(features)):
                corrected[rows] = corrected[rows] @ self.whiteners[batch]
        return corrected


def whitener(controls: Float64[np.ndarray, "n k"], ridge: float) -> Float64[np.ndarray, "k k"]:
    """Return (cov(controls) + ridge I)^(-1/2), the symmetric root."""
    covariance = np.atleast_2d(np.cov(controls, rowvar=False))
    variances, axes = np.linalg.eigh(covariance + ridge * np.eye(len(covariance)))
    return (axes / np.sqrt(variances)) @ axes.T
