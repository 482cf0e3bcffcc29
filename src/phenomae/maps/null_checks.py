"""Whether plates were corrected by the very controls that chance is told from."""

import numpy as np
from jaxtyping import Bool, Float, Shaped

from phenomae.maps.aggregate import group_means
from phenomae.progress import info

_NOTHING = 1e-6  # of the mean square: float32 leaves less, and a mean of m wells is about 1/m of it


def is_centered(
    features: Float[np.ndarray, "n d"],
    plates: Shaped[np.ndarray, " n"],
    control: Bool[np.ndarray, " n"],
) -> bool:
    """Say whether the controls of each plate are 0 in the mean, as after center-scale by plate.

    Plates of one control do not count; False where there are no others.
    """
    names, codes, sizes = np.unique(plates[control], return_inverse=True, return_counts=True)
    held = features[control].astype(np.float64)
    means = (group_means(held, codes, len(names)) ** 2).sum(axis=1)
    squares = group_means((held**2).sum(axis=1, keepdims=True), codes, len(names))[:, 0]
    several = sizes > 1
    return bool(several.any() and (means <= _NOTHING * squares)[several].all())


def tell_centered(
    features: Float[np.ndarray, "n d"],
    plates: Shaped[np.ndarray, " n"],
    control: Bool[np.ndarray, " n"],
) -> None:
    """Say what p-values are worth where the controls of each plate are 0 in the mean.

    The mean of m controls misses the plate's by a little, which all other wells of the plate then
    have in common. Controls have the opposite: they add up to 0.
    """
    if is_centered(features, plates, control):
        info(
            "the controls of each plate are 0 in the mean, as those are that it was corrected by: "
            "p-values among them are too small where controls are few and wells share plates; "
            "--unexpressed gives a better null"
        )
