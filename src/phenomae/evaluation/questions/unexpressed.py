"""What chance gives, told by perturbations that should do nothing: genes that are not expressed."""

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Float64

from phenomae.evaluation.questions.energy_distance import energy_distances
from phenomae.evaluation.questions.magnitude import p_of_energies
from phenomae.evaluation.questions.replicates import Replicates, places_among_alike
from phenomae.maps.consistency import mean_cosines
from phenomae.maps.p_values import p_values
from phenomae.maps.phenotype import read_unexpressed

Columns = dict[str, Float64[np.ndarray, " g"]]


def find_unexpressed(
    path: Path, replicates: Replicates, least_wells: int, source: Path
) -> Bool[np.ndarray, " g"]:
    """Return which names of the screen the file lists, of those with enough wells.

    Raises ValueError where the file cannot be read, or lists none of them.
    """
    listed = set(read_unexpressed(path))
    enough = replicates.wells >= least_wells
    null = enough & np.array([name in listed for name in replicates.names])
    if not null.any():
        raise ValueError(
            f"--unexpressed {path}: none of its {len(listed)} names is on {source} with at least "
            f"{least_wells} wells; expected names like {', '.join(replicates.names[:3])}"
        )
    return null


def compare_with_unexpressed(
    features: Float[np.ndarray, "n d"],
    unit: Float64[np.ndarray, "n d"],
    replicates: Replicates,
    null: Bool[np.ndarray, " g"],
    *,
    least_wells: int = 5,
    most_controls: int = 1000,
    seed: int = 0,
) -> Columns:
    """Return consistency and magnitude of each name, and their p-values among those of `null`.

    A name of k wells is compared with k wells of each name of the null, or with all it has where
    that is fewer: few wells lie farther from the controls by chance alone. `unit` are the features
    scaled to length 1; at most `most_controls` controls are measured from. Names of the null have
    no p-value.
    """
    rng = np.random.default_rng(seed)
    controls = rng.permutation(np.flatnonzero(replicates.control))[:most_controls]
    away = features[np.sort(controls)].astype(np.float64)
    groups, count = replicates.groups, len(replicates.names)
    alike = mean_cosines(unit, groups, count)
    far = energy_distances(features, groups, count, away, least_wells)
    scale = float(np.nanmax(np.abs(far)))
    alike_p, far_p = np.full(count, np.nan), np.full(count, np.nan)
    of_null = np.where(null[groups], groups, -1)
    places = places_among_alike(np.lexsort([rng.random(len(groups)), of_null]), of_null)
    for size in np.unique(replicates.wells[~null]):
        rows = np.flatnonzero(~null & (replicates.wells == size))
        some = np.where(places < size, of_null, -1)
        alike_p[rows] = p_values(alike[rows], mean_cosines(unit, some, count)[null])
        if size >= least_wells:
            energies = energy_distances(features, some, count, away, least_wells)
            far_p[rows] = p_of_energies(far[rows], energies[null], scale)
    return {
        "consistency": alike,
        "consistency_p": alike_p,
        "magnitude": far,
        "magnitude_p": far_p,
    }
