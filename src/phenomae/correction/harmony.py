"""Harmony: wells of different batches that look alike are moved onto each other.

The one correction that does not use controls. It needs all wells at once, so it cannot be applied
to plates that come later.
"""

import numpy as np
from jaxtyping import Float64

from phenomae.cores import available_cores
from phenomae.correction.batches import Batches
from phenomae.correction.correction import JointCorrection

_WELLS_PER_CLUSTER = 30  # harmonypy's default: fewer wells would make no cluster at all


class Harmony(JointCorrection):
    """Harmony (Korsunsky et al. 2019), as the package harmonypy computes it with its own defaults.

    Only `fit_transform`, given all wells and their batches, is available.
    """

    name = "harmony"
    min_controls = 0
    needs_batches = True

    def correct_jointly(
        self, features: Float64[np.ndarray, "n d"], batches: Batches
    ) -> Float64[np.ndarray, "n d"]:
        """Return all wells corrected, controls or not.

        Raises ValueError if harmonypy is not installed, there are no batches or only one, or
        fewer than 30 wells.
        """
        try:
            from harmonypy import run_harmony
        except ImportError:
            raise ValueError("harmony needs harmonypy: pip install 'phenomae[harmony]'") from None
        if batches is None or len(np.unique(batches)) < 2:
            given = "no batches" if batches is None else f"{batches[0]} only"
            raise ValueError(
                f"harmony moves batches onto each other, and it was given {given}: name a column "
                "with two or more, like plate"
            )
        if len(features) < _WELLS_PER_CLUSTER:
            raise ValueError(
                f"harmony needs at least {_WELLS_PER_CLUSTER} wells, and here are {len(features)}"
            )
        meta = {"batch": batches}
        # k-means inside starts at random; a fixed state makes the same wells give the same bytes.
        fitted = run_harmony(
            features, meta, "batch", verbose=False, random_state=0, ncores=available_cores()
        )
        return np.asarray(fitted.Z_corr, dtype=np.float64).reshape(features.shape)
