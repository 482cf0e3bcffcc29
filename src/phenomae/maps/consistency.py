"""Consistency: how similar the wells of a perturbation are, with p-values from control wells.

The statistic is EFAAR's perturbation consistency. The null distribution differs from EFAAR's: it is
drawn from control wells that are distributed over plates as the perturbation's wells are, because
wells of the same plate are similar for technical reasons.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int, Shaped

from phenomae.maps.control_groups import MIN_CONTROLS, draw_for_groups
from phenomae.maps.p_values import p_values


@dataclass(frozen=True)
class Consistency:
    """Consistency and p-value of each perturbation, in the order of the groups."""

    values: Float64[np.ndarray, " g"]
    """Mean cosine over all pairs of the perturbation's wells; NaN with fewer than 2 wells."""
    p: Float64[np.ndarray, " g"]
    """P-value of the consistency among groups of controls; NaN with fewer than 2 wells, and if all
    wells of the perturbation are controls."""
    loose: int
    """Number of perturbations whose distribution over plates no group of controls can match. They
    were compared with groups of any controls."""


def mean_cosines(
    unit: Float64[np.ndarray, "n d"], groups: Int[np.ndarray, " n"], count: int
) -> Float64[np.ndarray, " g"]:
    """Return the mean cosine over all pairs of the wells of each group 0 ... count - 1.

    `unit` has profiles of length 1; wells of group -1 are in no group. The value is NaN if a group
    has fewer than 2 wells. No pair is computed: n vectors of length 1 with the sum s have the mean
    cosine (|s|^2 - n) / (n (n - 1)).
    """
    from scipy import sparse  # a fifth of `map`'s import time, needed for --phenotype only

    inside = np.flatnonzero(groups >= 0)
    # One product with a sparse membership matrix sums the wells of all groups in a single pass.
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
    """Return the consistency of each group, and its p-value among groups of controls.

    A group is compared with up to `draws` different groups of control wells with the same
    distribution over plates, or with groups of any controls if the controls cannot match that
    distribution (`draw_for_groups`). A group's p-value does not depend on the other groups. Raises
    ValueError if there are fewer than 2 controls.
    """
    if control.sum() < MIN_CONTROLS:
        raise ValueError(
            f"the null distribution needs control wells, but there are {control.sum()}: set "
            f"`control` to true for {MIN_CONTROLS} wells or more whose perturbation should do "
            "nothing"
        )
    # Plate names are replaced by numbers, because bincount needs numbers.
    plate_codes = np.unique(plates, return_inverse=True)[1]
    values = mean_cosines(unit, groups, count)
    treated = np.bincount(groups[(groups >= 0) & ~control], minlength=count) > 0
    # Rows of controls are not tested: their own wells would be in the null distribution.
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
    # One well of each group at a time avoids an array of draws x wells x features.
    for members in drawn.T:
        sums += controls[members]
    return _mean_of_pairs(sums, np.full(len(drawn), drawn.shape[1]))


def _mean_of_pairs(
    sums: Float64[np.ndarray, "g d"], sizes: Int[np.ndarray, " g"]
) -> Float64[np.ndarray, " g"]:
    squares = np.einsum("gd,gd->g", sums, sums)
    pairs = np.where(sizes > 1, sizes * (sizes - 1.0), np.nan)
    return (squares - sizes) / pairs
