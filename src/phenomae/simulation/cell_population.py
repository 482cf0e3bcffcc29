"""How the cells of a field differ: response, states, cycle, size, brightness and neighbors."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from phenomae.simulation.cell_states import COMPARTMENTS, draw_states
from phenomae.simulation.cells import CHANNELS
from phenomae.simulation.effects import Effect
from phenomae.simulation.levels import Level
from phenomae.simulation.phenotype import PARAMETERS

_NAMES = list(PARAMETERS)
_STATE_COLUMNS = [_NAMES.index(name) for name in COMPARTMENTS]
_REACH = 45.0  # pixels within which cells count as neighbors; a cell's radius is 24
_LARGEST = 1.3  # a larger cell would be cut by its box


@dataclass(frozen=True)
class Population:
    """The cells of one field, apart from their places."""

    units: Float[np.ndarray, "cells parameters"]
    """Mean change of every parameter of each cell, in units of `Parameter.step`."""
    states: Int[np.ndarray, "cells compartments"]
    """State of every compartment, -1 or 1; `units` includes what it changes."""
    size: Float[np.ndarray, " cells"]
    """Factor of the cell's radius."""
    dna: Float[np.ndarray, " cells"]
    """DNA content, from 1 (G1) to 2 (G2)."""
    light: Float[np.ndarray, "c cells"]
    """Factor of the cell's brightness in every channel."""


def draw_population(
    phenotype: Float[np.ndarray, " parameters"],
    effect: Effect,
    shift: Float[np.ndarray, " parameters"],
    centres: Float[np.ndarray, "cells 2"],
    level: Level,
    rng: np.random.Generator,
) -> Population:
    """Draw the cells of one field.

    `phenotype` and `effect` are those of the guide; `shift` is of the well and moves all cells,
    whether they respond to the guide or not.
    """
    cells = len(centres)
    responds = rng.random(cells) < level.penetrance
    strength = responds * rng.uniform(level.weakest_cell, 1, cells)
    units = shift + strength[:, None] * phenotype
    crowd = _crowding(centres) * level.density
    units += crowd[:, None] * _neighbor_effects()
    states = _draw_states(effect.relation, strength, rng)
    units[:, _STATE_COLUMNS] += level.states * states
    dna = _cell_cycle(level.cycling, cells, rng)
    size = np.exp(level.cell_size * rng.standard_normal(cells) - 0.1 * crowd)
    size *= dna ** (1 / 6)
    noise = level.cell_brightness * rng.standard_normal((len(CHANNELS), cells))
    noise[0] += np.log(dna) / 3  # twice the DNA in a nucleus of 1.6 times the area
    light = np.exp(noise + strength * effect.brightness[:, None])
    return Population(units, states, np.clip(size, 0.7, _LARGEST), dna, light)


def _draw_states(
    relation: np.ndarray, strength: np.ndarray, rng: np.random.Generator
) -> Int[np.ndarray, "cells compartments"]:
    # A cell of strength .7 has the guide's relation with a chance of .7.
    related: Bool[np.ndarray, " cells"] = rng.random(len(strength)) < strength
    free = draw_states(np.zeros_like(relation), len(strength), rng)
    bound = draw_states(relation, len(strength), rng)
    return np.where(related[:, None], bound, free)


def _cell_cycle(cycling: float, cells: int, rng: np.random.Generator) -> np.ndarray:
    """Return DNA contents: 1 in G1, 2 in G2, evenly between in S."""
    phase = rng.random(cells)
    # Of cells past G1 about two thirds are in S phase (assumed from the usual DNA histogram).
    synthesis = 1 + np.clip(phase / max(cycling, 1e-9) * 1.5, 0, 1)
    return np.where(phase < cycling, synthesis, 1.0)


def _crowding(centres: np.ndarray) -> Float[np.ndarray, " cells"]:
    """Return how crowded each cell is: log of its neighbors, weighted by distance, over usual."""
    apart = np.sum((centres[:, None] - centres[None]) ** 2, axis=2)
    neighbors = np.exp(-apart / (2 * _REACH**2)).sum(axis=1) - 1
    # 3.0 is the median at 24 cells per 256 x 256 pixels (200 fields).
    return np.clip(np.log((neighbors + 0.5) / (3.0 + 0.5)), -1.5, 1.5)


def _neighbor_effects() -> Float[np.ndarray, " parameters"]:
    """Return the change of each parameter, in steps, where neighbors are e times the usual."""
    effects = {
        "cell_elongation": -1.0,
        "cell_ruffle": -0.5,
        "nucleus_radius": -0.8,
        "actin_cortex": 1.0,
        "er_extent": -0.7,
        "mito_distance": -0.5,
    }
    return np.array([effects.get(name, 0.0) for name in _NAMES])
