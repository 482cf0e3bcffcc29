"""MAD-robust scaling: subtracts the median of the controls, and divides by their MAD.

Median and median absolute deviation (times 1.4826) are those of pycytominer, whose method is called
`mad_robustize`; JUMP's public profiles are scaled by it. A few outlying controls do not move them.
"""

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from jaxtyping import Float64

from phenomae import checks
from phenomae.correction.batches import ALL_WELLS, Batches, each_batch, new_batches, require_known
from phenomae.correction.correction import ControlCorrection, State
from phenomae.progress import count_of, info

if TYPE_CHECKING:
    from pycytominer.operations import RobustMAD


class MadRobust(ControlCorrection):
    """Computes (x - median) / (MAD + epsilon) with the median and MAD of a batch's controls.

    A feature whose MAD is 0, because more than half of the controls of a batch have one value,
    becomes 0 for all wells of the batch. pycytominer would divide it by epsilon.
    """

    name = "mad-robust"

    by_batch_: bool
    medians_: dict[str, Float64[np.ndarray, " d"]]
    mads_: dict[str, Float64[np.ndarray, " d"]]

    def __init__(self, epsilon: float = 1e-18) -> None:
        self.epsilon = epsilon

    def check_parameters(self) -> None:
        """Raise ValueError if `epsilon` is negative."""
        checks.at_least("epsilon", self.epsilon, 0)

    @property
    def known(self) -> frozenset[str]:
        """The batches that this correction was fitted on."""
        return frozenset(self.medians_)

    def learn(self, controls: Float64[np.ndarray, "m d"], batches: Batches = None) -> Self:
        """Estimate median and MAD of the controls, per batch and over all controls.

        Raises ValueError if no feature of a batch has a MAD, or pycytominer is not installed.
        """
        self.by_batch_ = batches is not None
        self.medians_, self.mads_ = {}, {}
        self.learn_new(controls, batches)
        self._learn_batch(ALL_WELLS, controls)
        return self

    def learn_new(self, controls: Float64[np.ndarray, "m d"], batches: Batches = None) -> Self:
        """Estimate median and MAD of the controls of new batches."""
        for batch, rows in new_batches(batches, self.medians_, len(controls)):
            self._learn_batch(batch, controls[rows])
        return self

    def apply(
        self, features: Float64[np.ndarray, "n d"], batches: Batches = None
    ) -> Float64[np.ndarray, "n d"]:
        """Return the corrected wells; raises ValueError for a batch that was not fitted."""
        require_known(batches, self.medians_, self.by_batch_)
        corrected = np.empty_like(features)
        for batch, rows in each_batch(batches, len(features)):
            median, mad = self.medians_[batch], self.mads_[batch]
            scaled = (features[rows] - median) / (np.where(mad > 0, mad, 1) + self.epsilon)
            corrected[rows] = np.where(mad > 0, scaled, 0)
        return corrected

    def state(self) -> State:
        """Return the fitted parameters as arrays by name."""
        return {
            "by_batch": np.array(self.by_batch_),
            "batches": np.array(list(self.medians_)),
            "medians": np.stack(list(self.medians_.values())),
            "mads": np.stack(list(self.mads_.values())),
        }

    def restore(self, state: State) -> Self:
        """Set the fitted parameters to the `state` of another correction of this class."""
        self.by_batch_, names = bool(state["by_batch"]), state["batches"].tolist()
        self.medians_ = dict(zip(names, state["medians"], strict=True))
        self.mads_ = dict(zip(names, state["mads"], strict=True))
        return self

    def _learn_batch(self, batch: str, controls: Float64[np.ndarray, "m d"]) -> None:
        fitted = _fit_scaler(controls, self.epsilon)
        median, mad = np.asarray(fitted.median), np.asarray(fitted.mad)
        if not mad.any():
            raise ValueError(f"the controls of {batch} have a MAD of 0 in every feature")
        if constant := int((mad == 0).sum()):
            info(
                f"mad-robust: {constant} of {count_of(len(mad), 'feature')} have a MAD of 0 among "
                f"the controls of {batch} and become 0"
            )
        self.medians_[batch], self.mads_[batch] = median, mad


def _fit_scaler(controls: Float64[np.ndarray, "m d"], epsilon: float) -> "RobustMAD":
    """Return pycytominer's scaler, fitted; raises ValueError if pycytominer is not installed."""
    require_pycytominer("mad-robust")
    import pandas as pd
    from pycytominer.operations import RobustMAD

    return RobustMAD(epsilon).fit(pd.DataFrame(controls))


def require_pycytominer(method: str) -> Any:
    """Return the package pycytominer; raises ValueError if it is not installed."""
    try:
        import pycytominer
    except ImportError:
        raise ValueError(f"{method} needs pycytominer: pip install 'phenomae[profiles]'") from None
    return pycytominer
