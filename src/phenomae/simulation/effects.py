"""What guides change beside the parameters: number of cells, brightness, relations of compartments.

A complex is of one kind. `morphology` changes parameters only, `intensity` also the number and the
brightness of cells, `relation` only the relation of three compartments of a cell.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from jaxtyping import Float, Int

from phenomae.simulation.cell_states import TRIPLES
from phenomae.simulation.cells import CHANNELS
from phenomae.simulation.levels import Level
from phenomae.simulation.seeds import Use, make_generator

KINDS = ("morphology", "intensity", "relation")

# Assumed: the strongest guide of a gene of usual effect has a third fewer or more cells, or as much
# more or less light in one or two channels.
_INTENSITY = 0.4
_RELATION = 0.9  # of the largest possible value, 1; the rest is the gene's own


@dataclass(frozen=True)
class Effect:
    """What a guide changes beside the parameters; all are 0 in controls."""

    number: float
    """Change of the log of the number of cells."""
    brightness: Float[np.ndarray, " c"]
    """Change of the log of the light of a responding cell, per channel."""
    relation: Float[np.ndarray, " triples"]
    """Mean product of the states of every three compartments (`cell_states.TRIPLES`)."""

    @classmethod
    def nothing(cls) -> Self:
        """Return the effect of a control."""
        return cls(0.0, np.zeros(len(CHANNELS)), np.zeros(len(TRIPLES)))

    def scale(self, strength: float) -> "Effect":
        """Return the effect of a guide of this strength."""
        return Effect(strength * self.number, strength * self.brightness, strength * self.relation)


def complex_kinds(seed: int, complexes: int, level: Level) -> list[str]:
    """Return the kind of every complex; the shares of the level are rounded to whole complexes."""
    relation = min(round(level.relation_complexes * complexes), complexes)
    intensity = min(round(level.intensity_complexes * complexes), complexes - relation)
    kinds = ["relation"] * relation + ["intensity"] * intensity
    kinds += ["morphology"] * (complexes - len(kinds))
    order = make_generator(seed, Use.KIND, 0).permutation(complexes)
    return [kinds[index] for index in order]


def draw_extra_effects(
    seed: int, kinds: list[str], member: Int[np.ndarray, " genes"]
) -> list[Effect]:
    """Return the effect of every gene's strongest guide; `member` is the gene's complex."""
    rng = make_generator(seed, Use.KIND, 1)
    width = 1 + len(CHANNELS)
    changes = [_sparse(rng, width) for _ in kinds]
    # Complexes of relations take the triples in turn, and then again with the other sign.
    turns = np.cumsum([kind == "relation" for kind in kinds]) - 1
    of_relation = np.flatnonzero([kind == "relation" for kind in kinds])
    start = int(rng.integers(len(TRIPLES)))
    signs = rng.choice([-1.0, 1.0], len(kinds))
    effects = []
    for complex_ in member:
        own, small = rng.standard_normal(width), rng.standard_normal(len(TRIPLES))
        effect = Effect.nothing()
        if kinds[complex_] == "intensity":
            change = _INTENSITY * _unit(changes[complex_] + 0.3 * _unit(own))
            effect = Effect(float(change[0]), change[1:], effect.relation)
        elif kinds[complex_] == "relation":
            again, turn = divmod(int(turns[complex_]), len(TRIPLES))
            sign = signs[of_relation[turn]] * (-1) ** again
            relation = 0.1 * small / np.abs(small).sum()
            relation[(start + turn) % len(TRIPLES)] += _RELATION * sign
            effect = Effect(0.0, effect.brightness, relation / max(np.abs(relation).sum(), 1))
        effects.append(effect)
    return effects


def _sparse(rng: np.random.Generator, width: int) -> np.ndarray:
    """Return a random direction in which all but three entries are scaled down to a tenth."""
    weights = rng.standard_normal(width)
    weights[rng.permutation(width)[3:]] *= 0.1
    return _unit(weights)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)
