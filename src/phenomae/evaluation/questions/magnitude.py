"""Magnitude of each perturbation: its energy distance from controls, with a p-value."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from phenomae.evaluation.questions.energy_distance import DrawnEnergies, energy_distances
from phenomae.maps.control_groups import draw_for_groups
from phenomae.maps.p_values import p_values


@dataclass(frozen=True)
class Magnitude:
    """Magnitude and p-value of each perturbation, in the order of the groups."""

    values: Float64[np.ndarray, " g"]
    """Energy distance between the wells of a perturbation and controls; NaN for too few wells."""
    p: Float64[np.ndarray, " g"]
    """P-value of each energy distance; NaN if the distance is NaN."""
    loose: int
    """Number of perturbations for which no group of controls has the same plate layout, so that
    controls of any plate were drawn."""


def compare_magnitude(
    features: Float[np.ndarray, "n d"],
    groups: Int[np.ndarray, " n"],
    count: int,
    plates: Int[np.ndarray, " n"],
    control: Bool[np.ndarray, " n"],
    *,
    min_wells: int = 5,
    max_controls: int = 1000,
    draws: int = 1000,
    seed: int = 0,
) -> Magnitude:
    """Compute the energy distance of each group 0 ... count - 1 from controls, and its p-value.

    Half of each plate's controls are the reference. The null distribution has the energy distances
    of up to `draws` different groups drawn from the other half: with the plate layout of the group,
    or from any plates if these controls cannot match the layout (`draw_for_groups`). Wells with
    group -1 belong to no group.
    """
    controls = np.flatnonzero(control)
    reference, pool = split_controls(plates[controls], max_controls, seed)
    reference_features = features[controls[reference]].astype(np.float64)
    values = energy_distances(features, groups, count, reference_features, min_wells)
    null = DrawnEnergies.of(features[controls[pool]], reference_features)
    p, loose, pool_plates = np.full(count, np.nan), 0, plates[controls[pool]]
    # Perturbations with too few wells (NaN) are not tested.
    for matched in draw_for_groups(groups, plates, ~np.isnan(values), pool_plates, draws, seed):
        energies = null.energies(matched.drawn)
        p[matched.groups] = p_of_energies(values[matched.groups], energies, null.spread)
        loose += len(matched.groups) * matched.loose
    return Magnitude(values, p, loose)


def split_controls(
    plates: Int[np.ndarray, " m"], maximum: int, seed: int
) -> tuple[Int[np.ndarray, " r"], Int[np.ndarray, " k"]]:
    """Split the controls of each plate into halves, one for the reference, one for the null.

    Each half is reduced to at most `maximum` rows at random, and depends on plates and seed alone.
    """
    # A control in both halves would have distance 0 to itself, which biases the null distribution.
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(plates))
    # Every second control in the order of the plates, so that both halves have controls of every
    # plate with at least two.
    by_plate = shuffled[np.argsort(plates[shuffled], kind="stable")]
    reference, pool = (rng.permutation(by_plate[half::2])[:maximum] for half in (1, 0))
    return np.sort(reference), np.sort(pool)


def p_of_energies(
    observed: Float64[np.ndarray, " g"], null: Float64[np.ndarray, " draws"], spread: float
) -> Float64[np.ndarray, " g"]:
    """Return the p-value of each observed energy distance; NaN if the distance is NaN.

    The p-value is (number of null values >= observed + 1) / (number of null values + 1). `spread`
    is the typical size of a distance. Values are divided by `spread`, because `p_values` treats
    values that differ by less than 1e-9 as equal.
    """
    scale = spread or 1.0
    return p_values(observed / scale, null / scale)
