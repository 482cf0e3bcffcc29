"""Null distribution from perturbations that should have no effect: those of unexpressed genes."""

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Float64

from phenomae.evaluation.questions.energy_distance import energy_distances
from phenomae.evaluation.questions.magnitude import p_of_energies
from phenomae.evaluation.questions.replicates import Replicates, rank_within
from phenomae.maps.consistency import mean_cosines
from phenomae.maps.p_values import p_values
from phenomae.maps.phenotype import read_unexpressed

Columns = dict[str, Float64[np.ndarray, " g"]]


def find_unexpressed(
    path: Path, replicates: Replicates, min_wells: int, wells: Path
) -> Bool[np.ndarray, " g"]:
    """Return whether each name of `replicates` is listed in the file and has enough wells.

    `wells` is named in errors. Raises ValueError if the file cannot be read, or no listed name has
    enough wells.
    """
    listed = set(read_unexpressed(path))
    enough = replicates.wells >= min_wells
    null = enough & np.array([name in listed for name in replicates.names])
    if not null.any():
        raise ValueError(
            f"unexpressed {path}: none of its {len(listed)} names has at least {min_wells} wells "
            f"in {wells}; names there are like {', '.join(replicates.names[:3])}"
        )
    return null


def compare_with_unexpressed(
    features: Float[np.ndarray, "n d"],
    unit: Float64[np.ndarray, "n d"],
    replicates: Replicates,
    null: Bool[np.ndarray, " g"],
    *,
    min_wells: int = 5,
    max_controls: int = 1000,
    seed: int = 0,
) -> Columns:
    """Compute consistency and magnitude of each name, and p-values from the names in `null`.

    A name with k wells is compared with k wells of each name in `null`, or with all wells of a name
    in `null` that has fewer than k. `unit` is `features` scaled to length 1. Magnitude is the
    energy distance from at most `max_controls` controls. Names in `null` have no p-value.
    """
    rng = np.random.default_rng(seed)
    controls = rng.permutation(np.flatnonzero(replicates.control))[:max_controls]
    reference = features[np.sort(controls)].astype(np.float64)
    groups, count = replicates.groups, len(replicates.names)
    consistency = mean_cosines(unit, groups, count)
    magnitude = energy_distances(features, groups, count, reference, min_wells)
    # `p_of_energies` needs the typical size of the distances.
    scale = float(np.nanmax(np.abs(magnitude)))
    consistency_p, magnitude_p = np.full(count, np.nan), np.full(count, np.nan)
    of_null = np.where(null[groups], groups, -1)
    # The wells of each name in `null` in random order: ranks below k are its random k wells.
    ranks = rank_within(np.lexsort([rng.random(len(groups)), of_null]), of_null)
    # Energy distance is larger for few wells, so names are compared at equal numbers of wells.
    for size in np.unique(replicates.wells[~null]):
        rows = np.flatnonzero(~null & (replicates.wells == size))
        subset = np.where(ranks < size, of_null, -1)
        cosines = mean_cosines(unit, subset, count)
        consistency_p[rows] = p_values(consistency[rows], cosines[null])
        if size >= min_wells:
            energies = energy_distances(features, subset, count, reference, min_wells)
            magnitude_p[rows] = p_of_energies(magnitude[rows], energies[null], scale)
    return {
        "consistency": consistency,
        "consistency_p": consistency_p,
        "magnitude": magnitude,
        "magnitude_p": magnitude_p,
    }
