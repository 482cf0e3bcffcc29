"""Plans a screen: which guide stands in which well, what it truly does, and what hides it."""

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import polars as pl
from jaxtyping import Float

from phenomae.simulation.microscope import Exposure
from phenomae.simulation.phenotype import PARAMETERS

CONTROL_GENE = "non-targeting"
_ROWS, _COLUMNS = 16, 24  # a 384-well plate
_CHANNELS = 6

# Each use of randomness has its own number, so that no draw depends on how many came before it.
_TRUTH, _LAYOUT, _BATCH, _PLATE, _WELL, FIELD = range(6)


@dataclass(frozen=True)
class Design:
    """The truth of a screen, a pure function of the settings."""

    plate_map: pl.DataFrame
    """One row a well: plate, well, batch, gene, guide, control."""
    relationships: pl.DataFrame
    """The planted pairs: entity1, entity2, complex."""
    phenotypes: dict[str, Float[np.ndarray, " parameters"]]
    """What each guide does, in units of `Parameter.step`."""


def random_numbers(*key: int) -> np.random.Generator:
    """Return the generator of one place in the screen: a pure function of its key."""
    return np.random.default_rng(key)


def plan_screen(
    seed: int,
    genes: int,
    complexes: int,
    guides: int,
    batches: int,
    controls: int,
    effect: float,
) -> Design:
    """Draw the truth and lay it out on 384-well plates, every guide once a batch.

    Genes share `complexes` complexes evenly. A complex is a direction among the parameters; its
    genes follow it with a small part of their own, their guides with strengths from weak to full.
    `controls` wells a plate are negative controls; `effect` is the length of a full phenotype.
    """
    rng = random_numbers(seed, _TRUTH)
    names = [f"G{index:03d}" for index in range(1, genes + 1)]
    member = np.arange(genes) % complexes
    directions = [_sparse_direction(rng) for _ in range(complexes)]
    phenotypes, guide_table = {}, []
    for name, complex_ in zip(names, member, strict=True):
        own = _unit(rng.standard_normal(len(PARAMETERS)))
        gene = effect * _unit(directions[complex_] + 0.3 * own)
        strengths = rng.permutation(np.linspace(0.6, 1.0, guides)) if guides > 1 else [1.0]
        for number, strength in enumerate(strengths, start=1):
            guide = f"{name}_guide_{number}"
            phenotypes[guide] = strength * gene
            guide_table.append((name, guide))
    for number in range(1, 5):
        phenotypes[f"{CONTROL_GENE}_guide_{number}"] = np.zeros(len(PARAMETERS))
    plate_map = _lay_out(seed, guide_table, batches, controls)
    return Design(plate_map, _pairs(names, member), phenotypes)


def well_nuisance(
    seed: int, nuisance: float, batch: int, plate: int, row: int, column: int
) -> "Well":
    """Return what batch, plate, place and chance do to a well, besides its perturbation."""
    batch_rng = random_numbers(seed, _BATCH, batch)
    plate_rng = random_numbers(seed, _PLATE, plate)
    well_rng = random_numbers(seed, _WELL, plate, row, column)
    levels = ((batch_rng, 0.35), (plate_rng, 0.2), (well_rng, 0.2))
    gain = 4500 * np.exp(nuisance * _sum_normal(levels, _CHANNELS))
    background = 300 * np.exp(nuisance * _sum_normal(levels, _CHANNELS))
    shift = nuisance * _sum_normal(
        ((batch_rng, 0.4), (plate_rng, 0.2), (well_rng, 0.25)), len(PARAMETERS)
    )
    tilt = nuisance * _sum_normal(((batch_rng, 0.12), (plate_rng, 0.06), (well_rng, 0.03)), 4)
    tilt[2] = abs(tilt[2]) + 0.1 * nuisance
    focus = math.exp(
        0.35
        * nuisance
        * float(_sum_normal(((batch_rng, 0.5), (plate_rng, 0.5), (well_rng, 0.8)), 1)[0])
    )
    edge = min(row, _ROWS - 1 - row, column, _COLUMNS - 1 - column) < 2
    place = 0.25 * (row / (_ROWS - 1) - 0.5) + 0.15 * (column / (_COLUMNS - 1) - 0.5) - 0.25 * edge
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


@dataclass(frozen=True)
class Well:
    """The nuisance of one well."""

    exposure: Exposure
    crowding: float
    """Factor on the number of cells."""
    shift: Float[np.ndarray, " parameters"]
    """What batch, plate and chance add to the phenotype, in units of `Parameter.step`."""


def cell_centres(number: int, size: int, rng: np.random.Generator) -> Float[np.ndarray, "cells 2"]:
    """Return places of cells in a field and around its border, spread as if they pushed apart."""
    margin = 20
    side = size + 2 * margin
    wanted = max(1, round(number * (side / size) ** 2))
    centres: list[np.ndarray] = []
    for _ in range(wanted):
        tries = rng.uniform(-margin, size + margin, (8, 2))
        if centres:
            apart = np.min(np.linalg.norm(tries[:, None] - np.array(centres)[None], axis=2), axis=1)
            centres.append(tries[np.argmax(np.minimum(apart, 40))])
        else:
            centres.append(tries[0])
    return np.array(centres)


def _sparse_direction(rng: np.random.Generator) -> Float[np.ndarray, " parameters"]:
    """Return a unit vector that moves about a third of the parameters, as real perturbations do."""
    weights = rng.standard_normal(len(PARAMETERS))
    weights[rng.permutation(len(PARAMETERS))[len(PARAMETERS) // 3 :]] *= 0.1
    return _unit(weights)


def _lay_out(
    seed: int, guide_table: list[tuple[str, str]], batches: int, controls: int
) -> pl.DataFrame:
    room = _ROWS * _COLUMNS - controls
    plates = math.ceil(len(guide_table) / room)
    rows = []
    for batch in range(batches):
        rng = random_numbers(seed, _LAYOUT, batch)
        shuffled = [guide_table[index] for index in rng.permutation(len(guide_table))]
        for number in range(plates):
            contents = [(*pair, False) for pair in shuffled[number::plates]]
            contents += [
                (CONTROL_GENE, f"{CONTROL_GENE}_guide_{index % 4 + 1}", True)
                for index in range(controls)
            ]
            wells = np.sort(rng.permutation(_ROWS * _COLUMNS)[: len(contents)])
            plate = f"B{batch + 1}P{number + 1}"
            for place, content in zip(rng.permutation(wells), contents, strict=True):
                row, column = divmod(int(place), _COLUMNS)
                well = f"{chr(ord('A') + row)}{column + 1:02d}"
                rows.append((plate, well, f"B{batch + 1}", *content))
    columns = ["plate", "well", "batch", "gene", "guide", "control"]
    return pl.DataFrame(rows, schema=columns, orient="row").sort("plate", "well")


def _pairs(names: list[str], member: np.ndarray) -> pl.DataFrame:
    pairs = [
        (names[first], names[second], f"C{member[first] + 1:02d}")
        for first, second in combinations(range(len(names)), 2)
        if member[first] == member[second]
    ]
    return pl.DataFrame(pairs, schema=["entity1", "entity2", "complex"], orient="row")


def _sum_normal(levels: tuple[tuple[np.random.Generator, float], ...], count: int) -> np.ndarray:
    return sum((sd * rng.standard_normal(count) for rng, sd in levels), np.zeros(count))


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)
