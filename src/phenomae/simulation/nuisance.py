"""Nuisance of a simulated screen: staining, illumination, focus, crowding and batch effects.

Batches, plates and wells also shift the parameters that perturbations change, so that a map without
correction shows batch effects.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from phenomae.simulation.cells import CHANNELS
from phenomae.simulation.design import COLUMNS, ROWS
from phenomae.simulation.microscope import Exposure
from phenomae.simulation.phenotype import PARAMETERS
from phenomae.simulation.seeds import Use, make_generator


@dataclass(frozen=True)
class Well:
    """All effects on the images of a well other than its perturbation."""

    exposure: Exposure
    crowding: float
    """Factor by which the number of cells is multiplied."""
    shift: Float[np.ndarray, " parameters"]
    """Batch, plate and well effect on every parameter, in units of `Parameter.step`."""


def well_nuisance(
    seed: int, nuisance: float, batch: int, plate: int, row: int, column: int
) -> Well:
    """Return the nuisance of one well; `row` and `column` count from 0.

    Most parts are sums of normal random numbers of the batch, the plate and the well. Wells of a
    plate share the numbers of batch and plate, whose effects a correction can remove. `nuisance`
    scales the standard deviations.
    """
    batch_rng = make_generator(seed, Use.BATCH, batch)
    plate_rng = make_generator(seed, Use.PLATE, plate)
    well_rng = make_generator(seed, Use.WELL, plate, row, column)
    levels = ((batch_rng, 0.35), (plate_rng, 0.2), (well_rng, 0.2))
    gain = 4500 * np.exp(nuisance * _sum_normal(levels, len(CHANNELS)))
    background = 300 * np.exp(nuisance * _sum_normal(levels, len(CHANNELS)))
    shift = nuisance * _sum_normal(
        ((batch_rng, 0.4), (plate_rng, 0.2), (well_rng, 0.25)), len(PARAMETERS)
    )
    tilt = nuisance * _sum_normal(((batch_rng, 0.12), (plate_rng, 0.06), (well_rng, 0.03)), 4)
    # Always positive, because illumination falls off from the centre of a field.
    tilt[2] = abs(tilt[2]) + 0.1 * nuisance
    focus = math.exp(
        0.35
        * nuisance
        * float(_sum_normal(((batch_rng, 0.5), (plate_rng, 0.5), (well_rng, 0.8)), 1)[0])
    )
    edge = min(row, ROWS - 1 - row, column, COLUMNS - 1 - column) < 2
    place = 0.25 * (row / (ROWS - 1) - 0.5) + 0.15 * (column / (COLUMNS - 1) - 0.5) - 0.25 * edge
    # Real plates have such a pattern: cells settle unevenly, and medium evaporates at the edge.
    crowding = math.exp(
        nuisance * (place + float(_sum_normal(((batch_rng, 0.12), (well_rng, 0.15)), 1)[0]))
    )
    exposure = Exposure(
        gain * math.exp(-0.3 * nuisance * edge),
        background,
        blur=0.75 * focus,
        tilt=tilt,
        photons_per_count=0.25 / max(nuisance, 0.05),
        read_noise=40 * nuisance,
    )
    return Well(exposure, crowding, shift)


def _sum_normal(levels: tuple[tuple[np.random.Generator, float], ...], count: int) -> np.ndarray:
    return sum((sd * rng.standard_normal(count) for rng, sd in levels), np.zeros(count))
