"""Warns if plates were corrected by the same controls that form the null distribution.

The error of a control mean is then shared by all treated wells of a plate but cancels among the
controls, so p-values are too small: in simulations (docs/maps.md) up to 44 % of pure noise had
p <= .05.
"""

import numpy as np
from jaxtyping import Bool, Float, Shaped

from phenomae.maps.aggregate import group_means
from phenomae.progress import info

# Of the mean square. What float32 leaves of a mean of 0 is below this; the squared mean of m wells
# that were not centred is about 1/m.
_ZERO = 1e-6


def is_centred(
    features: Float[np.ndarray, "n d"],
    plates: Shaped[np.ndarray, " n"],
    control: Bool[np.ndarray, " n"],
) -> bool:
    """Return whether the controls of each plate have mean 0, as after center-scale by plate.

    Plates with a single control are ignored; False if there are no other plates.
    """
    names, codes, sizes = np.unique(plates[control], return_inverse=True, return_counts=True)
    values = features[control].astype(np.float64)
    means = (group_means(values, codes, len(names)) ** 2).sum(axis=1)
    squares = group_means((values**2).sum(axis=1, keepdims=True), codes, len(names))[:, 0]
    several = sizes > 1
    return bool(several.any() and (means <= _ZERO * squares)[several].all())


def warn_centred(
    features: Float[np.ndarray, "n d"],
    plates: Shaped[np.ndarray, " n"],
    control: Bool[np.ndarray, " n"],
) -> None:
    """Log a warning that p-values are too small if the controls of each plate have mean 0.

    The mean of a few controls differs from that of the plate, and all other wells of the plate
    share the difference. The controls themselves have the opposite: they sum to 0.
    """
    if is_centred(features, plates, control):
        info(
            "the controls of each plate have mean 0, as if it was corrected by them: p-values from "
            "them are too small if controls are few and wells share plates; the unexpressed "
            "setting gives a better null distribution"
        )
