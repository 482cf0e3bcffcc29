"""How alike the wells of each perturbation are, and how often controls are as alike by chance."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int, Shaped
from scipy import sparse

from phenomae.maps.control_groups import LEAST_CONTROLS, draw_alike, draw_any, plate_patterns

_ROUNDING = 1e-9  # cosines closer than this are the same: sums of another order differ in last bits


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

    A group is compared with `draws` groups of control wells that lie on plates as its own wells do
    (`draw_alike`), or, where there are no such controls, with groups of any (`draw_any`). A group
    of controls that is drawn twice counts once, so that few controls cannot give a small p-value.
    A pure function of the seed and of how wells lie on plates. Raises ValueError where there are
    fewer than 2 controls.
    """
    if control.sum() < LEAST_CONTROLS:
        raise ValueError(
            f"chance is told from control wells, and there are {control.sum()}: set `control` to "
            f"true for {LEAST_CONTROLS} wells or more whose perturbation should do nothing"
        )
    plate_codes = np.unique(plates, return_inverse=True)[1]
    values = mean_cosines(unit, groups, count)
    alike = defaultdict[tuple[int, ...], list[int]](list)
    tested = np.bincount(groups[(groups >= 0) & ~control], minlength=count) > 0
    for group, pattern in enumerate(plate_patterns(groups, plate_codes, count)):
        if tested[group] and not np.isnan(values[group]):
            alike[pattern].append(group)
    p, loose = np.full(count, np.nan), 0
    controls, control_plates = unit[control], plate_codes[control]
    for pattern, rows in alike.items():
        drawn = draw_alike(control_plates, pattern, draws, seed)
        if drawn is None:
            loose += len(rows)
            drawn = draw_any(len(controls), pattern, draws, seed)
        p[rows] = p_values(values[rows], _mean_cosines_of_drawn(controls, drawn))
    return Consistency(values, p, loose)


def p_values(
    observed: Float64[np.ndarray, " g"], null: Float64[np.ndarray, " draws"]
) -> Float64[np.ndarray, " g"]:
    """Return (null values as high or higher + 1) / (null values + 1): never 0.

    Null values that are NaN do not count; what is NaN has the p-value NaN. Besides those drawn from
    controls, the null values may be the consistencies of genes that the cells do not express.
    """
    known = np.sort(null[~np.isnan(null)])
    higher = len(known) - np.searchsorted(known, observed - _ROUNDING)
    return np.where(np.isnan(observed), np.nan, (higher + 1) / (len(known) + 1))


def _mean_cosines_of_drawn(
    controls: Float64[np.ndarray, "m d"], drawn: Int[np.ndarray, "draws k"]
) -> Float64[np.ndarray, " distinct"]:
    """Return the mean cosine of each distinct group of controls."""
    distinct = np.unique(np.sort(drawn, axis=1), axis=0)
    sums = np.zeros((len(distinct), controls.shape[1]))
    for members in distinct.T:  # one well of every group at a time: never draws x wells x features
        sums += controls[members]
    return _mean_of_pairs(sums, np.full(len(distinct), distinct.shape[1]))


def _mean_of_pairs(
    sums: Float64[np.ndarray, "g d"], sizes: Int[np.ndarray, " g"]
) -> Float64[np.ndarray, " g"]:
    squares = np.einsum("gd,gd->g", sums, sums)
    pairs = np.where(sizes > 1, sizes * (sizes - 1.0), np.nan)
    return (squares - sizes) / pairs
