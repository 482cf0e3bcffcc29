"""How far the wells of each perturbation lie from controls, and how often controls lie as far."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from phenomae.evaluation.questions.energy_distance import DrawnEnergies, energy_distances
from phenomae.maps.control_groups import draw_for_groups
from phenomae.maps.p_values import p_values


@dataclass(frozen=True)
class Magnitude:
    """One number a perturbation, in the order of the groups; NaN where there is none."""

    values: Float64[np.ndarray, " g"]
    """Energy distance of its wells to controls; NaN where it has too few wells."""
    p: Float64[np.ndarray, " g"]
    """How often groups of other controls are as far."""
    loose: int
    """Perturbations whose wells no controls can match plate by plate, so that any were taken."""


def compare_magnitude(
    features: Float[np.ndarray, "n d"],
    groups: Int[np.ndarray, " n"],
    count: int,
    plates: Int[np.ndarray, " n"],
    control: Bool[np.ndarray, " n"],
    *,
    least_wells: int = 5,
    most_controls: int = 1000,
    draws: int = 1000,
    seed: int = 0,
) -> Magnitude:
    """Return how far the wells of each group lie from controls, and the p-value of that.

    Half of the controls are what is measured from. A group is compared with `draws` groups of the
    other half that lie on plates as its own wells do, or, where there are none, with groups of any
    (`draw_for_groups`). A well of group -1 is in none.
    """
    controls = np.flatnonzero(control)
    reference, pool = split_controls(plates[controls], most_controls, seed)
    away = features[controls[reference]].astype(np.float64)
    values = energy_distances(features, groups, count, away, least_wells)
    chance = DrawnEnergies.of(features[controls[pool]], away)
    p, loose, pool_plates = np.full(count, np.nan), 0, plates[controls[pool]]
    for some in draw_for_groups(groups, plates, ~np.isnan(values), pool_plates, draws, seed):
        far = chance.energies(some.drawn)
        p[some.groups] = p_of_energies(values[some.groups], far, chance.spread)
        loose += len(some.groups) * some.loose
    return Magnitude(values, p, loose)


def split_controls(
    plates: Int[np.ndarray, " m"], most: int, seed: int
) -> tuple[Int[np.ndarray, " r"], Int[np.ndarray, " k"]]:
    """Return rows of controls to measure from and, of the other half, rows to draw chance from.

    Each plate's controls are halved; at most `most` are in either. A function of plates and seed.
    """
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(plates))
    by_plate = shuffled[np.argsort(plates[shuffled], kind="stable")]
    reference, pool = (rng.permutation(by_plate[half::2])[:most] for half in (1, 0))
    return np.sort(reference), np.sort(pool)


def p_of_energies(
    observed: Float64[np.ndarray, " g"], null: Float64[np.ndarray, " draws"], spread: float
) -> Float64[np.ndarray, " g"]:
    """Return (null values as high or higher + 1) / (null values + 1), NaN where there is no value.

    `spread` is the size of the distances, in which values that differ by rounding are the same.
    """
    scale = spread or 1.0
    return p_values(observed / scale, null / scale)
