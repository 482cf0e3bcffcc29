"""Warns if plates were centred on the same controls that form the null distribution.

The estimation error of a plate's control mean is then shared by all treated wells of the plate but
cancels among the controls, so p-values are too small: in simulations of pure noise (docs/maps.md)
up to 44 % of the p-values were at most .05.
"""

import numpy as np
from jaxtyping import Bool, Float, Shaped

from phenomae.maps.aggregate import group_means
from phenomae.progress import info

# Threshold for (squared mean) / (mean square). Rounding to float32 leaves values below this; for m
# wells that were not centred, the expected value is about 1/m.
_ZERO = 1e-6


def is_centred(
    features: Float[np.ndarray, "n d"],
    plates: Shaped[np.ndarray, " n"],
    control: Bool[np.ndarray, " n"],
) -> bool:
    """Return whether the controls of each plate have mean 0, as after center-scale by plate.

    Plates with a single control are ignored. Returns False if no plate has several controls.
    """
    names, codes, sizes = np.unique(plates[control], return_inverse=True, return_counts=True)
    # In float32, rounding errors of the sums could reach the threshold.
    values = features[control].astype(np.float64)
    means = (group_means(values, codes, len(names)) ** 2).sum(axis=1)
    squares = group_means((values**2).sum(axis=1, keepdims=True), codes, len(names))[:, 0]
    several = sizes > 1
    return bool(several.any() and (means <= _ZERO * squares)[several].all())


def warn_centred(
    features: Float[np.ndarray, "n d"],
    plates: Shaped[np.ndarray, " n"],
    control: Bool[np.ndarray, " n"],
    remedy: str = "; the setting unexpressed gives a better null distribution",
) -> None:
    """Log a warning that p-values are too small if the controls of each plate have mean 0.

    The mean of a few controls deviates from the true mean of untreated wells. After centring, all
    treated wells of the plate share this deviation, while the controls sum to 0.
    """
    if is_centred(features, plates, control):
        info(
            "the controls of each plate have mean 0, as after center-scale by plate: p-values are "
            f"too small if there are few controls and a row's wells share plates{remedy}"
        )
