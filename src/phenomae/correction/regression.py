"""Regression: subtracts what a few covariates of a well explain of its features.

The coefficients are fitted on the controls of all plates together, because one plate has too few
controls for them. Features and covariates are centred on the controls of each plate before the fit,
so that differences between plates have no influence, and none are added or removed.
"""

from abc import abstractmethod
from typing import Self

import numpy as np
import polars as pl
from jaxtyping import Bool, Float64

from phenomae.correction.batches import ALL_WELLS
from phenomae.correction.center_scale import RESOLUTION
from phenomae.correction.correction import FittedCorrection, State
from phenomae.correction.covariates import Covariates, plate_labels
from phenomae.correction.least_squares import (
    MIN_PLATES,
    explained_on_unseen_plates,
    plate_products,
    solve,
    total_products,
)
from phenomae.progress import info
from phenomae.wells import Profiles


class Regression(FittedCorrection[Covariates]):
    """Base class: ordinary least squares of all features on covariates of the wells.

    A well becomes features - (covariates - mean of its plate's controls) @ coefficients. Least
    squares has no ridge: covariates are few and controls of all plates many, and a fit that does
    not hold on plates that it has not seen is refused.
    """

    fits_on = "controls and covariates"
    uses_batches = False

    centers_: dict[str, Float64[np.ndarray, " q"]]
    """Mean covariates of the controls by plate, and of all controls (`ALL_WELLS`)."""
    coefficients_: Float64[np.ndarray, "q d"]
    ranges_: Float64[np.ndarray, "2 q"]
    """Lowest and highest covariates of the controls, relative to the means of their plates."""

    @abstractmethod
    def measure(self, table: pl.DataFrame, counts: Profiles | None) -> Float64[np.ndarray, "n q"]:
        """Return the covariates of the wells in `table`; raises ValueError if a well has none."""

    @property
    def known(self) -> frozenset[str]:
        """The plates whose controls this regression was fitted on, and `ALL_WELLS`."""
        return frozenset(self.centers_)

    def learn(self, controls: Float64[np.ndarray, "m d"], own: Covariates, /) -> Self:
        """Fit the coefficients on the controls of all plates.

        Raises ValueError if fewer than two plates have two controls, there are too few controls for
        the covariates, or the regression explains no variance on plates left out of the fit.
        """
        self._require_enough(own)
        products = plate_products(own, controls)
        explained = explained_on_unseen_plates(products)
        if np.isnan(explained).all():
            raise ValueError(f"{self.name}: the controls of no plate differ in any feature")
        mean, largest = float(np.nanmean(explained)), float(np.nanmax(explained))
        told = (
            f"{mean:.3f} of the variance of the controls' features on average, {largest:.3f} of "
            f"feature_{np.nanargmax(explained):04d} at most ({len(controls)} controls of "
            f"{len(products)} plates, each plate left out of the fit once)"
        )
        if not mean > 0:
            raise ValueError(
                f"{self.name} does not lower the variance of the controls on unseen plates: it "
                f"explains {told}; leave {self.name} out"
            )
        info(f"{self.name} explains on unseen plates {told}")
        total = total_products(products)
        self.coefficients_ = solve(total.covariates, total.features)
        self.centers_ = {ALL_WELLS: own.values.mean(axis=0)}
        self.learn_new(controls, own)
        deviations = self._deviations(own)
        self.ranges_ = np.stack([deviations.min(axis=0), deviations.max(axis=0)])
        return self

    def learn_new(self, controls: Float64[np.ndarray, "m d"], own: Covariates, /) -> Self:
        """Compute the mean covariates of the controls of new plates; coefficients stay."""
        for plate, rows in own.each_plate():
            if plate not in self.centers_:
                self.centers_[plate] = own.values[rows].mean(axis=0)
        return self

    def apply(
        self, features: Float64[np.ndarray, "n d"], own: Covariates, /
    ) -> Float64[np.ndarray, "n d"]:
        """Return the corrected wells; plates without controls use the mean of all controls."""
        return features - self._deviations(own) @ self.coefficients_

    def outside(self, own: Covariates) -> Bool[np.ndarray, " n"]:
        """Return which wells have a covariate outside the range of the controls."""
        deviations = self._deviations(own)
        low, high = self.ranges_
        # A covariate that is the same for all controls of a plate has deviations of rounding error.
        margin = RESOLUTION * np.abs(own.values).max(axis=0, initial=0.0)
        return ((deviations < low - margin) | (deviations > high + margin)).any(axis=1)

    def state(self) -> State:
        """Return the fitted parameters as arrays by name."""
        return {
            "plates": np.array(list(self.centers_)),
            "centers": np.stack(list(self.centers_.values())),
            "coefficients": self.coefficients_,
            "ranges": self.ranges_,
        }

    def restore(self, state: State) -> Self:
        """Set the fitted parameters to the `state` of another regression of this class."""
        self.centers_ = dict(zip(state["plates"].tolist(), state["centers"], strict=True))
        self.coefficients_, self.ranges_ = state["coefficients"], state["ranges"]
        return self

    def _deviations(self, own: Covariates) -> Float64[np.ndarray, "n q"]:
        """Return the covariates minus the mean of the controls of each well's plate."""
        deviations = own.values.copy()
        for plate, rows in own.each_plate():
            deviations[rows] -= self.centers_.get(plate, self.centers_[ALL_WELLS])
        return deviations

    def _require_enough(self, own: Covariates) -> None:
        """Raise ValueError unless the controls suffice for a fit without any one plate."""
        free = [len(rows) - 1 for _, rows in own.each_plate() if len(rows) > 1]
        count = own.values.shape[1]
        if len(free) < MIN_PLATES:
            raise ValueError(
                f"{self.name} is tested on plates left out of the fit, so it needs two plates with "
                f"two or more controls, but there is {len(free)}"
            )
        if (left := sum(free) - max(free)) <= count:
            raise ValueError(
                f"{self.name} has {count} covariates and needs more controls: without the plate of "
                f"most controls, {left + len(free) - 1} controls are left on {len(free) - 1} "
                f"plates, and at least {count + len(free)} are needed"
            )


def measure_covariates(
    regression: Regression,
    table: pl.DataFrame,
    kept: Bool[np.ndarray, " n"],
    counts: Profiles | None,
) -> Covariates:
    """Return the covariates of all wells in `table`; those of wells that are not kept are 0."""
    measured = regression.measure(table.filter(kept), counts)
    values = np.zeros((len(table), measured.shape[1]))
    values[kept] = measured
    return Covariates(values, plate_labels(table))
