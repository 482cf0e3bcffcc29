"""How alike the wells of each perturbation are, and how often controls are as alike by chance."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int, Shaped

from phenomae.maps.control_groups import MIN_CONTROLS, draw_for_groups
from phenomae.maps.p_values import p_values


@dataclass(frozen=True)
class Consistency:
    """One number a perturbation, in the order of the groups; NaN where there is none."""

    values: Float64[np.ndarray, " g"]
    """Mean cosine over all pairs of its wells; NaN where it has fewer than 2."""
    p: Float64[np.ndarray, " g"]
    """How often groups of controls are as alike; NaN also where it is made of controls alone."""
    loose: int
    """Perturbations whose wells no controls can match plate by plate, so that any were taken."""


def mean_cosines(
    unit: Float64[np.ndarray, "n d"], groups: Int[np.ndarray, " n"], count: int
) -> Float64[np.ndarray, " g"]:
    """Return the mean cosine over all pairs of the wells of each group 0 ... count - 1.

    `unit` holds vectors of length 1; a well of group -1 is in none. NaN where a group has fewer
    than 2 wells. No pair is looked at: n vectors of length 1 whose sum is s have the mean
    (|s|^2 - n) / (n (n - 1)).
    """
    from scipy import sparse

    inside = np.flatnonzero(groups >= 0)
    members = sparse.csr_array(
        (np.ones(len(inside)), (groups[inside], inside)), shape=(count, len(unit))
    )
    return _mean_of_pairs(members @ unit, np.bincount(groups[inside], minlength=count))


def compare_with_controls(
    unit: Float64[np.ndarray, "n d"],
    groups: Int[np.ndarray, " n"],
    count: int,
    plates: Shaped[np.ndarray, " n"],
    control: Bool[np.ndarray, " n"],
    *,
    draws: int = 1000,
    seed: int = 0,
) -> Consistency:
    """Return how alike the wells of each group are, and the p-value of that among controls.

    A group is compared with `draws` groups of control wells that lie on plates as its own wells do,
    or, where there are no such controls, with groups of any (`draw_for_groups`). A pure function of
    the seed and of how wells lie on plates. Raises ValueError where there are fewer than 2
    controls.
    """
    if control.sum() < MIN_CONTROLS:
        raise ValueError(
            f"chance is told from control wells, and there are {control.sum()}: set `control` to "
            f"true for {MIN_CONTROLS} wells or more whose perturbation should do nothing"
        )
    plate_codes = np.unique(plates, return_inverse=True)[1]
    values = mean_cosines(unit, groups, count)
    treated = np.bincount(groups[(groups >= 0) & ~control], minlength=count) > 0
    tested = treated & ~np.isnan(values)
    p, loose, controls = np.full(count, np.nan), 0, unit[control]
    for some in draw_for_groups(groups, plate_codes, tested, plate_codes[control], draws, seed):
        p[some.groups] = p_values(values[some.groups], _mean_cosines_of_drawn(controls, some.drawn))
        loose += len(some.groups) * some.loose
    return Consistency(values, p, loose)


def _mean_cosines_of_drawn(
    controls: Float64[np.ndarray, "m d"], drawn: Int[np.ndarray, "draws k"]
) -> Float64[np.ndarray, " draws"]:
    """Return the mean cosine of each group of controls."""
    sums = np.zeros((len(drawn), controls.shape[1]))
    for members in drawn.T:  # one well of every group at a time: never draws x wells x features
        sums += controls[members]
    return _mean_of_pairs(sums, np.full(len(drawn), drawn.shape[1]))


def _mean_of_pairs(
    sums: Float64[np.ndarray, "g d"], sizes: Int[np.ndarray, " g"]
) -> Float64[np.ndarray, " g"]:
    squares = np.einsum("gd,gd->g", sums, sums)
    pairs = np.where(sizes > 1, sizes * (sizes - 1.0), np.nan)
    return (squares - sizes) / pairs
