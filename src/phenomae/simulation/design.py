"""The ground truth of a simulated screen: the effect of every guide, and the plate map.

Genes of the same complex change cells in nearly the same direction of the space of parameters, so
the pairs of genes within complexes are the relationships that a map should recover.
"""

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import polars as pl
from jaxtyping import Float

from phenomae.simulation.effects import Effect, complex_kinds, draw_extra_effects
from phenomae.simulation.levels import EASY, Level
from phenomae.simulation.phenotype import PARAMETERS
from phenomae.simulation.seeds import Use, make_generator

CONTROL_GENE = "non-targeting"
ROWS, COLUMNS = 16, 24  # a 384-well plate


@dataclass(frozen=True)
class FieldPlace:
    """Where a field of the screen is."""

    plate: int
    """Number of the plate, counted from 0."""
    batch: int
    """Number of the batch, counted from 0."""
    well: str
    """Name of the well, like B07."""
    guide: str
    """The guide in the well."""
    site: int
    """Number of the field in the well, counted from 1."""


@dataclass(frozen=True)
class Design:
    """The plate map, related pairs and phenotypes of a simulated screen."""

    plate_map: pl.DataFrame
    """One row per well: plate, well, batch, gene, guide, control."""
    relationships: pl.DataFrame
    """All pairs of genes of the same complex, one row per pair: entity1, entity2, complex."""
    phenotypes: dict[str, Float[np.ndarray, " parameters"]]
    """For each guide, the change of every parameter in units of `Parameter.step`."""
    effects: dict[str, Effect]
    """For each guide, what it changes beside the parameters."""
    kinds: dict[str, str]
    """For each complex, what its genes change: morphology, intensity or relation."""


def design_plates(
    seed: int,
    genes: int,
    complexes: int,
    guides: int,
    batches: int,
    controls: int,
    effect: float,
    level: Level = EASY,
) -> Design:
    """Draw the phenotype of every guide, and place the guides on 384-well plates, once per batch.

    Genes are divided evenly among `complexes` complexes. A complex is a direction in the space of
    parameters; a gene's direction is that of its complex plus a small random deviation. A guide's
    phenotype has its gene's direction, and a length of `effect` times a strength up to 1. Each
    plate has `controls` negative control wells.
    """
    rng = make_generator(seed, Use.TRUTH)
    names = [f"G{index:03d}" for index in range(1, genes + 1)]
    member = np.arange(genes) % complexes
    directions = [_sparse_direction(rng) for _ in range(complexes)]
    kinds = complex_kinds(seed, complexes, level)
    extras = draw_extra_effects(seed, kinds, member)
    phenotypes, effects, guide_table = {}, {}, []
    for name, complex_, extra in zip(names, member, extras, strict=True):
        own = _unit(rng.standard_normal(len(PARAMETERS)))
        gene = effect * _unit(directions[complex_] + 0.3 * own)
        if kinds[complex_] == "relation":
            gene = np.zeros_like(gene)
        # Evenly spaced in random order, because real guides of a gene differ in efficiency.
        weakest = level.weakest_guide
        strengths = rng.permutation(np.linspace(weakest, 1.0, guides)) if guides > 1 else [1.0]
        for number, strength in enumerate(strengths, start=1):
            guide = f"{name}_guide_{number}"
            phenotypes[guide] = strength * gene
            effects[guide] = extra.scale(strength)
            guide_table.append((name, guide))
    for number in range(1, 5):
        phenotypes[f"{CONTROL_GENE}_guide_{number}"] = np.zeros(len(PARAMETERS))
        effects[f"{CONTROL_GENE}_guide_{number}"] = Effect.nothing()
    plate_map = _lay_out(seed, guide_table, batches, controls)
    named = {_name_complex(index): kind for index, kind in enumerate(kinds)}
    return Design(plate_map, _pairs(names, member), phenotypes, effects, named)


def _name_complex(index: int) -> str:
    return f"C{index + 1:02d}"


def _sparse_direction(rng: np.random.Generator) -> Float[np.ndarray, " parameters"]:
    """Return a random unit vector in which two thirds of the entries are scaled down to a tenth."""
    weights = rng.standard_normal(len(PARAMETERS))
    weights[rng.permutation(len(PARAMETERS))[len(PARAMETERS) // 3 :]] *= 0.1
    return _unit(weights)


def _lay_out(
    seed: int, guide_table: list[tuple[str, str]], batches: int, controls: int
) -> pl.DataFrame:
    """Return the plate map: guides and controls in random wells, drawn anew for every batch."""
    room = ROWS * COLUMNS - controls
    plates = math.ceil(len(guide_table) / room)
    rows = []
    for batch in range(batches):
        rng = make_generator(seed, Use.LAYOUT, batch)
        shuffled = [guide_table[index] for index in rng.permutation(len(guide_table))]
        for number in range(plates):
            # Every n-th guide: the numbers of guides per plate of a batch differ by at most one.
            contents = [(*pair, False) for pair in shuffled[number::plates]]
            contents += [
                (CONTROL_GENE, f"{CONTROL_GENE}_guide_{index % 4 + 1}", True)
                for index in range(controls)
            ]
            wells = np.sort(rng.permutation(ROWS * COLUMNS)[: len(contents)])
            plate = f"B{batch + 1}P{number + 1}"
            for place, content in zip(rng.permutation(wells), contents, strict=True):
                row, column = divmod(int(place), COLUMNS)
                well = f"{chr(ord('A') + row)}{column + 1:02d}"
                rows.append((plate, well, f"B{batch + 1}", *content))
    columns = ["plate", "well", "batch", "gene", "guide", "control"]
    return pl.DataFrame(rows, schema=columns, orient="row").sort("plate", "well")


def _pairs(names: list[str], member: np.ndarray) -> pl.DataFrame:
    """Return a table of all pairs of genes of the same complex, each pair once."""
    pairs = [
        (names[first], names[second], _name_complex(member[first]))
        for first, second in combinations(range(len(names)), 2)
        if member[first] == member[second]
    ]
    return pl.DataFrame(pairs, schema=["entity1", "entity2", "complex"], orient="row")


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)
