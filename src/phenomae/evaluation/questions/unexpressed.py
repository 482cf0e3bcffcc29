"""Null distribution from perturbations that should have no effect: those of unexpressed genes."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from phenomae.evaluation.questions.energy_distance import energy_distances
from phenomae.evaluation.questions.magnitude import p_of_energies
from phenomae.evaluation.questions.replicates import Replicates, rank_within
from phenomae.maps.consistency import mean_cosines
from phenomae.maps.p_values import p_values
from phenomae.maps.phenotype import read_unexpressed
from phenomae.paths import PathLike
from phenomae.progress import info

Values = Float64[np.ndarray, " g"]


def find_unexpressed(
    replicates: Replicates, path: PathLike, min_wells: int, wells: Path
) -> Bool[np.ndarray, " g"]:
    """Return whether each name of `replicates` is listed in the file `path` and has enough wells.

    `wells` is named in errors. Raises ValueError if the file cannot be read, or no listed name has
    enough wells.
    """
    listed = set(read_unexpressed(Path(path)))
    enough = replicates.wells >= min_wells
    null = enough & np.array([name in listed for name in replicates.names])
    if not null.any():
        raise ValueError(
            f"unexpressed {path}: none of its {len(listed)} names has at least {min_wells} wells "
            f"in {wells}; names there are like {', '.join(replicates.names[:3])}"
        )
    return null


def choose_null(
    replicates: Replicates, path: PathLike, preferred: int, minimum: int, wells: Path
) -> Bool[np.ndarray, " g"]:
    """Return the listed names with `preferred` wells, or, if there are none, with `minimum` wells.

    Raises ValueError as `find_unexpressed` does.
    """
    listed = find_unexpressed(replicates, path, min(preferred, minimum), wells)
    many = listed & (replicates.wells >= preferred)
    return many if many.any() else listed


def report_smallest_p(null: Bool[np.ndarray, " g"], level: float) -> None:
    """Log the smallest p-value that the names in `null` allow, if it is above the level."""
    if (smallest := 1 / (null.sum() + 1)) > level:
        info(
            f"the smallest p-value that {null.sum()} unexpressed names allow is {smallest:.2g}, "
            f"above level {level}: list more names"
        )


def consistency_with_unexpressed(
    unit: Float64[np.ndarray, "n d"],
    replicates: Replicates,
    null: Bool[np.ndarray, " g"],
    seed: int = 0,
) -> tuple[Values, Values]:
    """Return the consistency of each name, and its p-value among the names in `null`.

    `unit` has profiles of length 1. Names in `null` have no p-value.
    """
    measure = partial(mean_cosines, unit, count=len(replicates.names))
    values = measure(replicates.groups)
    _, order = _draw(replicates, seed)
    return values, _compare(values, measure, p_values, replicates, null, order)


def magnitude_with_unexpressed(
    features: Float[np.ndarray, "n d"],
    replicates: Replicates,
    null: Bool[np.ndarray, " g"],
    *,
    min_wells: int = 5,
    max_controls: int = 1000,
    seed: int = 0,
) -> tuple[Values, Values]:
    """Return the magnitude of each name, and its p-value among the names in `null`.

    Magnitude is the energy distance from at most `max_controls` controls; it is NaN for names with
    fewer than `min_wells` wells. Names in `null` have no p-value.
    """
    controls, order = _draw(replicates, seed)
    reference = features[np.sort(controls[:max_controls])].astype(np.float64)
    measure = partial(
        energy_distances,
        features,
        count=len(replicates.names),
        reference=reference,
        min_wells=min_wells,
    )
    values = measure(replicates.groups)
    # `p_of_energies` needs the typical size of the distances.
    test = partial(p_of_energies, spread=float(np.nanmax(np.abs(values))))
    return values, _compare(values, measure, test, replicates, null, order)


def _draw(
    replicates: Replicates, seed: int
) -> tuple[Int[np.ndarray, " m"], Float64[np.ndarray, " n"]]:
    """Return the controls in random order, and a random number for each well."""
    rng = np.random.default_rng(seed)
    return rng.permutation(np.flatnonzero(replicates.control)), rng.random(len(replicates.groups))


def _compare(
    values: Values,
    measure: Callable[[Int[np.ndarray, " n"]], Values],
    test: Callable[[Values, Values], Values],
    replicates: Replicates,
    null: Bool[np.ndarray, " g"],
    order: Float64[np.ndarray, " n"],
) -> Values:
    """Return the p-value of each name's value among those of the names in `null`.

    A name with k wells is compared with k wells of each name in `null`, or with all wells of a name
    in `null` that has fewer than k. `order` has a random number for each well.
    """
    groups, p = replicates.groups, np.full(len(values), np.nan)
    of_null = np.where(null[groups], groups, -1)
    # The wells of each name in `null` in random order: ranks below k are its random k wells.
    ranks = rank_within(np.lexsort([order, of_null]), of_null)
    tested = ~null & ~np.isnan(values)
    # Energy distance is larger for few wells, so names are compared at equal numbers of wells.
    for size in np.unique(replicates.wells[tested]):
        rows = np.flatnonzero(tested & (replicates.wells == size))
        p[rows] = test(values[rows], measure(np.where(ranks < size, of_null, -1))[null])
    return p
