"""P-values of neighbors: how near the k-th nearest row of a map is to a profile of no effect.

With wells, the profiles of no effect are averages of control wells that are distributed over plates
as the wells of a name are. Without wells they are the other rows of the map, as if names were
shuffled.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int

from phenomae.maps.control_groups import MIN_CONTROLS, draw_for_groups
from phenomae.maps.nearest import Unit, highest_cosines
from phenomae.maps.p_values import p_values
from phenomae.maps.unit_vectors import unit_rows
from phenomae.progress import count_of, info

Cosines = Float64[np.ndarray, "q k"]


@dataclass(frozen=True)
class Controls:
    """The control wells, and which wells each row of the map is of."""

    features: Float32[np.ndarray, "m d"]
    plates: Int[np.ndarray, " m"]
    rows: Int[np.ndarray, " n"]
    """Row of the map of each well; -1 for wells that are not on it."""
    row_plates: Int[np.ndarray, " n"]
    """Plate of each of these wells, by the same numbers."""
    tested: Bool[np.ndarray, " g"]
    """Rows that are not controls themselves."""


def p_of_controls(
    controls: Controls,
    unit: Unit,
    queries: Int[np.ndarray, " q"],
    observed: Sequence[Cosines],
    draws: int,
    seed: int,
) -> list[Float64[np.ndarray, "q k"]]:
    """Return the p-value of each cosine among averages of control wells.

    `observed` are cosines of the rows `queries` of the map to their nearest rows, and the negative
    cosines to the farthest. The p-value of the k-th is the share of up to `draws` averages of
    controls whose k-th is at least as high, 1 added to both counts; NaN for rows of controls.
    """
    if len(controls.features) < MIN_CONTROLS:
        raise ValueError(
            f"p-values need {MIN_CONTROLS} control wells or more, and there are "
            f"{len(controls.features)}: set `control` in the plate map, or leave wells out"
        )
    found = [np.full(cosines.shape, np.nan) for cosines in observed]
    place = np.full(len(unit), -1)
    place[queries] = np.arange(len(queries))
    tested = controls.tested & (place >= 0)
    loose = 0
    groups = draw_for_groups(
        controls.rows, controls.row_plates, tested, controls.plates, draws, seed
    )
    for some in groups:
        profiles = unit_rows(_averages(controls.features, some.drawn))
        # A row of the map is compared with all others, so a control is compared with as many.
        left_out = np.random.default_rng([seed, 1]).integers(len(unit), size=len(profiles))
        its = place[some.groups]
        for cosines, p, sign in zip(observed, found, (1.0, -1.0), strict=True):
            _, null = highest_cosines(sign * profiles, unit, cosines.shape[1], left_out)
            p[its] = _by_rank(cosines[its], null)
        loose += len(some.groups) * some.loose
    if loose:
        info(
            f"{count_of(loose, 'row')} of the map have wells on plates with too few controls, and "
            "are compared with controls of any plate"
        )
    return found


@dataclass(frozen=True)
class RowNull:
    """The highest and lowest cosines of some rows of the map, drawn at random."""

    drawn: Int[np.ndarray, " draws"]
    cosines: tuple[Cosines, Cosines]
    """To the nearest rows, and negative to the farthest."""

    @classmethod
    def draw(cls, unit: Unit, k: int, draws: int, seed: int) -> "RowNull":
        """Draw `draws` rows and one more, or all if there are no more."""
        drawn = np.random.default_rng([seed, 2]).permutation(len(unit))[: draws + 1]
        near, far = (highest_cosines(sign * unit[drawn], unit, k, drawn)[1] for sign in (1.0, -1.0))
        return cls(drawn, (near, far))

    def p_values(
        self, queries: Int[np.ndarray, " q"], observed: Sequence[Cosines]
    ) -> list[Float64[np.ndarray, "q k"]]:
        """Return the p-value of each cosine among those of other rows of the same rank.

        See `p_of_controls`.
        """
        found = []
        is_drawn = np.isin(queries, self.drawn)
        for cosines, null in zip(observed, self.cosines, strict=True):
            p = np.empty(cosines.shape)
            # Of a row that was drawn the null has the row itself: it is not compared with it.
            p[~is_drawn] = _by_rank(cosines[~is_drawn], null[:-1])
            p[is_drawn] = (_by_rank(cosines[is_drawn], null) * (len(null) + 1) - 1) / len(null)
            found.append(p)
        return found


def _by_rank(observed: Cosines, null: Cosines) -> Float64[np.ndarray, "q k"]:
    columns = [p_values(*pair) for pair in zip(observed.T, null.T, strict=True)]
    return np.stack(columns, axis=1)


def _averages(
    controls: Float32[np.ndarray, "m d"], drawn: Int[np.ndarray, "draws w"]
) -> Float64[np.ndarray, "draws d"]:
    sums = np.zeros((len(drawn), controls.shape[1]))
    for members in drawn.T:  # an array of draws x wells x features may not fit into memory
        sums += controls[members]
    return sums / drawn.shape[1]
