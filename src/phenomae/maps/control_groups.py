"""Draws groups of control wells that are distributed over plates as a perturbation's wells are.

The drawn groups depend only on the seed, the controls and the perturbation's distribution over
plates, so a row's p-value does not depend on which other rows are on the map.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

MIN_CONTROLS = 2  # a single control makes no pair


@dataclass(frozen=True)
class Matched:
    """Perturbations with the same distribution over plates, and their groups of controls."""

    groups: list[int]
    """The perturbations, as numbers of their groups."""
    drawn: Int[np.ndarray, "draws k"]
    """One group of controls per row, as row numbers among the controls."""
    loose: bool
    """Whether `drawn` has groups of any controls, because no controls match the distribution."""


def draw_for_groups(
    groups: Int[np.ndarray, " n"],
    plates: Int[np.ndarray, " n"],
    tested: Bool[np.ndarray, " g"],
    control_plates: Int[np.ndarray, " m"],
    draws: int,
    seed: int,
) -> Iterator[Matched]:
    """Yield the groups that are `tested`, with up to `draws` different groups of controls.

    The groups of controls have the same distribution over plates as the tested groups
    (`draw_matched`). If the controls cannot match this distribution, the groups consist of any
    controls (`draw_any`).
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
        # Duplicate groups are removed: with few controls the same groups are drawn repeatedly, and
        # repeats would make p-values smaller than the number of different groups justifies.
        yield Matched(some, np.unique(np.sort(drawn, axis=1), axis=0), loose)


def plate_patterns(
    groups: Int[np.ndarray, " n"], plates: Int[np.ndarray, " n"], count: int
) -> list[tuple[int, ...]]:
    """Return the numbers of wells that each group has on its plates, descending, like (2, 2, 1).

    Wells of group -1 are in no group. A group without wells has the pattern ().
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
    """Return groups of controls that match `pattern`, as row numbers among the controls.

    `plates` has the plate of each control. For each number in the pattern, a plate with at least so
    many controls is drawn, no plate twice, and then this number of its controls without
    replacement. Returns None if the controls cannot match the pattern.
    """
    assert pattern == tuple(sorted(pattern, reverse=True))
    sizes = np.bincount(plates)
    # The pattern is descending, so the number at `place` competes with `place` larger or equal
    # numbers: more than `place` plates must have enough controls for it.
    if any((sizes >= part).sum() <= place for place, part in enumerate(pattern)):
        return None
    # The pattern is part of the seed, so that other patterns do not change the draws.
    rng = np.random.default_rng([seed, *pattern])
    taken = np.zeros((draws, len(sizes)), dtype=bool)
    columns: list[Int[np.ndarray, "draws part"]] = []
    # Patterns are descending: with the largest number first, enough plates always remain for the
    # smaller numbers.
    for part in pattern:
        # The plate with the largest random key is a uniform draw, vectorised over all draws; a key
        # of -1 excludes a plate.
        keys = rng.random(taken.shape)
        keys[taken | (sizes < part)] = -1.0
        chosen = keys.argmax(axis=1)
        taken[np.arange(draws), chosen] = True
        columns.append(_draw_on_plates(rng, plates, chosen, part))
    return np.hstack(columns)


def draw_any(
    controls: int, pattern: tuple[int, ...], draws: int, seed: int
) -> Int[np.ndarray, "draws k"]:
    """Return groups of any controls, with as many wells as the pattern if possible.

    A group has at most half of the controls (but at least 2), because larger groups would be nearly
    identical. The mean cosine of a smaller group varies more, which makes p-values too large rather
    than too small.
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
        # Sorting random keys is a draw without replacement, vectorised over all draws.
        order = rng.random((len(rows), len(members))).argsort(axis=1)
        drawn[rows] = members[order[:, :part]]
    return drawn
