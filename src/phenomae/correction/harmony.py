"""Harmony: moves clusters of similar wells from different batches onto each other.

Harmony is the only correction here that does not use controls. Harmony needs all wells at once, so
a fitted Harmony cannot be applied to later plates.
"""

import numpy as np
from jaxtyping import Float64

from phenomae.cores import available_cores
from phenomae.correction.batches import Batches
from phenomae.correction.correction import JointCorrection

# harmonypy makes N / 30 clusters (at most 100) by default: fewer wells would give one or none.
_WELLS_PER_CLUSTER = 30


class Harmony(JointCorrection):
    """Harmony (Korsunsky et al. 2019), computed by the package harmonypy with its default settings.

    The class has no `fit` and no `transform`, only `fit_transform` for all wells and their batches.
    """

    name = "harmony"
    min_controls = 0
    needs_batches = True

    def correct_jointly(
        self, features: Float64[np.ndarray, "n d"], batches: Batches
    ) -> Float64[np.ndarray, "n d"]:
        """Return the corrected features of all wells, controls included.

        Raises ValueError if harmonypy is not installed, if there are fewer than two batches, or if
        there are fewer than 30 wells.
        """
        try:
            from harmonypy import run_harmony
        except ImportError:
            raise ValueError("harmony needs harmonypy: pip install 'phenomae[harmony]'") from None
        if batches is None or len(np.unique(batches)) < 2:
            given = "no batches" if batches is None else f"{batches[0]} only"
            raise ValueError(
                f"harmony moves batches onto each other, but was given {given}: name a column "
                "with two or more batches, such as plate"
            )
        if len(features) < _WELLS_PER_CLUSTER:
            raise ValueError(
                f"harmony needs at least {_WELLS_PER_CLUSTER} wells, but there are {len(features)}"
            )
        meta = {"batch": batches}
        # harmonypy initialises k-means at random; a fixed seed makes the result reproducible.
        fitted = run_harmony(
            features, meta, "batch", verbose=False, random_state=0, ncores=available_cores()
        )
        return np.asarray(fitted.Z_corr, dtype=np.float64).reshape(features.shape)
