"""Draws groups of control wells that are distributed over plates as a perturbation's wells are.

Draws are a pure function of the seed and that distribution, so a row's p-value does not depend on
which other rows are on the map.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

MIN_CONTROLS = 2  # fewer make no pair


@dataclass(frozen=True)
class Matched:
    """Perturbations with the same distribution over plates, and the controls to compare with."""

    groups: list[int]
    drawn: Int[np.ndarray, "draws k"]
    """Groups of controls, as row numbers of the controls."""
    loose: bool
    """Whether no controls have that distribution, so that any were drawn."""


def draw_for_groups(
    groups: Int[np.ndarray, " n"],
    plates: Int[np.ndarray, " n"],
    tested: Bool[np.ndarray, " g"],
    control_plates: Int[np.ndarray, " m"],
    draws: int,
    seed: int,
) -> Iterator[Matched]:
    """Yield the groups that are `tested`, with `draws` groups of controls to compare them with.

    The controls have the same distribution over plates (`draw_matched`); if there are none such,
    they are any controls (`draw_any`).
    """
    patterns = defaultdict[tuple[int, ...], list[int]](list)
    for group, pattern in enumerate(plate_patterns(groups, plates, len(tested))):
        if tested[group]:
            patterns[pattern].append(group)
    for pattern, some in patterns.items():
        drawn = draw_matched(control_plates, pattern, draws, seed)
        loose = drawn is None
        if drawn is None:
            drawn = draw_any(len(control_plates), pattern, draws, seed)
        # Each different group once: with few controls the same ones are drawn again and again, and
        # would make p-values smaller than the controls can justify.
        yield Matched(some, np.unique(np.sort(drawn, axis=1), axis=0), loose)


def plate_patterns(
    groups: Int[np.ndarray, " n"], plates: Int[np.ndarray, " n"], count: int
) -> list[tuple[int, ...]]:
    """Return how many wells each group has on its plates, largest first, like (2, 2, 1).

    Wells of group -1 are in no group; a group without wells has the pattern ().
    """
    inside = groups >= 0
    pairs = np.column_stack([groups[inside], plates[inside]])
    found, sizes = np.unique(pairs, axis=0, return_counts=True)
    parts: list[list[int]] = [[] for _ in range(count)]
    for group, size in zip(found[:, 0].tolist(), sizes.tolist(), strict=True):
        parts[group].append(size)
    return [tuple(sorted(part, reverse=True)) for part in parts]


def draw_matched(
    plates: Int[np.ndarray, " m"], pattern: tuple[int, ...], draws: int, seed: int
) -> Int[np.ndarray, "draws k"] | None:
    """Return groups of controls with a pattern, as row numbers; `plates` are those of the controls.

    For each number in the pattern a plate with at least as many controls is drawn, no plate twice,
    then that many of its controls without replacement. None if the controls cannot match the
    pattern.
    """
    assert pattern == tuple(sorted(pattern, reverse=True))
    sizes = np.bincount(plates)
    if any((sizes >= part).sum() <= place for place, part in enumerate(pattern)):
        return None
    rng = np.random.default_rng([seed, *pattern])
    taken = np.zeros((draws, len(sizes)), dtype=bool)
    columns: list[Int[np.ndarray, "draws part"]] = []
    # The largest number comes first: the plates left always suffice for the smaller ones.
    for part in pattern:
        # The largest of random keys is a uniform draw, for all draws at once; -1 excludes a plate.
        keys = rng.random(taken.shape)
        keys[taken | (sizes < part)] = -1.0
        chosen = keys.argmax(axis=1)
        taken[np.arange(draws), chosen] = True
        columns.append(_draw_on_plates(rng, plates, chosen, part))
    return np.hstack(columns)


def draw_any(
    controls: int, pattern: tuple[int, ...], draws: int, seed: int
) -> Int[np.ndarray, "draws k"]:
    """Return groups of any controls, with as many wells as the pattern.

    At most half of the controls are in a group, because larger groups would be nearly identical.
    Smaller groups vary more, which makes p-values too large rather than too small.
    """
    assert controls >= MIN_CONTROLS
    size = min(sum(pattern), max(MIN_CONTROLS, controls // 2))
    rng = np.random.default_rng([seed, *pattern])
    return np.array([rng.permutation(controls)[:size] for _ in range(draws)])


def _draw_on_plates(
    rng: np.random.Generator,
    plates: Int[np.ndarray, " m"],
    chosen: Int[np.ndarray, " draws"],
    part: int,
) -> Int[np.ndarray, "draws part"]:
    """Return `part` different controls of the plate chosen for each draw."""
    drawn = np.empty((len(chosen), part), dtype=np.intp)
    for plate in np.unique(chosen):
        rows, members = np.flatnonzero(chosen == plate), np.flatnonzero(plates == plate)
        # The order of random keys is a draw without replacement, for all draws at once.
        order = rng.random((len(rows), len(members))).argsort(axis=1)
        drawn[rows] = members[order[:, :part]]
    return drawn
