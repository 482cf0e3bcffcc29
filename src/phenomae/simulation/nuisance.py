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
from phenomae.simulation.exposure import FULL_SCALE, Exposure
from phenomae.simulation.levels import EASY, Level
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
    seed: int,
    nuisance: float,
    batch: int,
    plate: int,
    row: int,
    column: int,
    level: Level = EASY,
) -> Well:
    """Return the nuisance of one well; `row` and `column` count from 0.

    Most parts are sums of normal random numbers of the batch, the plate and the well. Wells of a
    plate share the numbers of batch and plate, whose effects a correction can remove; those of rows
    and columns it cannot. `nuisance` scales the standard deviations.
    """
    sources = (
        make_generator(seed, Use.BATCH, batch),
        make_generator(seed, Use.PLATE, plate),
        make_generator(seed, Use.WELL, plate, row, column),
    )
    # The sources are drawn from in this order, which level easy's bytes depend on.
    stains = nuisance * (level.staining / 0.2)
    gain = np.exp(stains * _sum_normal(sources, (0.35, 0.2, 0.2), len(CHANNELS)))
    background = np.exp(stains * _sum_normal(sources, (0.35, 0.2, 0.2), len(CHANNELS)))
    shift = nuisance * _sum_normal(sources, (0.4, 0.2, 0.25), len(PARAMETERS))
    tilt = _draw_tilt(nuisance * level.illumination, sources)
    focus = math.exp(0.35 * nuisance * float(_sum_normal(sources, (0.5, 0.5, 0.8), 1)[0]))
    edge, place = _find_place(row, column)
    layout = nuisance * level.layout * _layout_effects(seed, plate, row, column)
    by_chance = float(_sum_normal(sources[::2], (0.12, 0.15), 1)[0])
    crowding = math.exp(nuisance * (place + by_chance) + layout[0])
    photons_per_count = level.photons / FULL_SCALE
    optics_rng = make_generator(seed, Use.OPTICS, plate, row, column)
    exposure = Exposure(
        FULL_SCALE
        * gain
        * math.exp(-0.3 * nuisance * edge)
        * np.exp(layout[1 : 1 + len(CHANNELS)]),
        level.background * FULL_SCALE * background,
        blur=level.blur * focus,
        tilt=tilt,
        photons_per_count=photons_per_count / max(nuisance, 0.05),
        read_noise=level.read_noise / photons_per_count * nuisance,
        focus=nuisance * level.field_focus * optics_rng.standard_normal(3),
        haze=level.haze,
        texture=nuisance * level.texture,
        # Of an sCMOS camera (ORCA-Flash4.0: 2.2); with less nuisance photons are more, counts not.
        counts_per_electron=2 * max(nuisance, 0.05),
    )
    return Well(exposure, crowding, shift + 2 * layout[1 + len(CHANNELS) :])


def _find_place(row: int, column: int) -> tuple[bool, float]:
    """Return whether a well is near the plate's edge, and the log of its usual number of cells."""
    edge = min(row, ROWS - 1 - row, column, COLUMNS - 1 - column) < 2
    slope = 0.25 * (row / (ROWS - 1) - 0.5) + 0.15 * (column / (COLUMNS - 1) - 0.5)
    # Real plates have such a pattern: cells settle unevenly, and medium evaporates at the edge.
    return edge, slope - 0.25 * edge


def _draw_tilt(
    strength: float, sources: tuple[np.random.Generator, ...]
) -> Float[np.ndarray, " 4"]:
    tilt = strength * _sum_normal(sources, (0.12, 0.06, 0.03), 4)
    # Always positive, because illumination falls off from the centre of a field.
    tilt[2] = abs(tilt[2]) + 0.1 * strength
    return tilt


def _layout_effects(seed: int, plate: int, row: int, column: int) -> Float[np.ndarray, " effects"]:
    """Return effects of the well's row and column on crowding, each channel and each parameter."""
    count = 1 + len(CHANNELS) + len(PARAMETERS)
    of_row = make_generator(seed, Use.ROW, plate, row).standard_normal(count)
    return of_row + make_generator(seed, Use.COLUMN, plate, column).standard_normal(count)


def _sum_normal(
    sources: tuple[np.random.Generator, ...], sds: tuple[float, ...], count: int
) -> np.ndarray:
    draws = (sd * rng.standard_normal(count) for rng, sd in zip(sources, sds, strict=True))
    return sum(draws, np.zeros(count))
