"""Draws groups of control wells that lie on plates as the wells of a perturbation do."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

MIN_CONTROLS = 2  # fewer make no pair


@dataclass(frozen=True)
class Alike:
    """Perturbations that lie on plates alike, and the controls that they are compared with."""

    groups: list[int]
    drawn: Int[np.ndarray, "draws k"]
    """Groups of controls, as rows of the controls."""
    loose: bool
    """Whether no controls lie on plates so, and any were taken."""


def draw_for_groups(
    groups: Int[np.ndarray, " n"],
    plates: Int[np.ndarray, " n"],
    tested: Bool[np.ndarray, " g"],
    control_plates: Int[np.ndarray, " m"],
    draws: int,
    seed: int,
) -> Iterator[Alike]:
    """Yield the tested ones of the wells' groups, and `draws` groups of controls to compare with.

    These lie on plates as their wells do (`draw_alike`) or, where there are none, are any
    (`draw_any`). One that is drawn twice is there once, so that few controls cannot give a small
    p-value.
    """
    alike = defaultdict[tuple[int, ...], list[int]](list)
    for group, pattern in enumerate(plate_patterns(groups, plates, len(tested))):
        if tested[group]:
            alike[pattern].append(group)
    for pattern, some in alike.items():
        drawn = draw_alike(control_plates, pattern, draws, seed)
        loose = drawn is None
        if drawn is None:
            drawn = draw_any(len(control_plates), pattern, draws, seed)
        yield Alike(some, np.unique(np.sort(drawn, axis=1), axis=0), loose)


def plate_patterns(
    groups: Int[np.ndarray, " n"], plates: Int[np.ndarray, " n"], count: int
) -> list[tuple[int, ...]]:
    """Return how many wells each group has on its plates, most first: (2, 2, 1), say.

    A well of group -1 is in none; a group without wells has the pattern ().
    """
    inside = groups >= 0
    pairs = np.column_stack([groups[inside], plates[inside]])
    found, sizes = np.unique(pairs, axis=0, return_counts=True)
    parts: list[list[int]] = [[] for _ in range(count)]
    for group, size in zip(found[:, 0].tolist(), sizes.tolist(), strict=True):
        parts[group].append(size)
    return [tuple(sorted(part, reverse=True)) for part in parts]


def draw_alike(
    plates: Int[np.ndarray, " m"], pattern: tuple[int, ...], draws: int, seed: int
) -> Int[np.ndarray, "draws k"] | None:
    """Return groups of controls of a pattern, as rows of the controls; `plates` are theirs.

    For each part of the pattern a plate that has so many controls is drawn, no plate twice, then
    so many of its controls without replacement. None where the controls cannot give the pattern. A
    pure function of the seed and the pattern.
    """
    assert pattern == tuple(sorted(pattern, reverse=True))
    sizes = np.bincount(plates)
    if any((sizes >= part).sum() <= place for place, part in enumerate(pattern)):
        return None
    rng = np.random.default_rng([seed, *pattern])
    taken = np.zeros((draws, len(sizes)), dtype=bool)
    columns: list[Int[np.ndarray, "draws part"]] = []
    # The largest part comes first: what is left then always holds plates for the smaller ones.
    for part in pattern:
        keys = rng.random(taken.shape)
        keys[taken | (sizes < part)] = -1.0
        chosen = keys.argmax(axis=1)
        taken[np.arange(draws), chosen] = True
        columns.append(_draw_on_plates(rng, plates, chosen, part))
    return np.hstack(columns)


def draw_any(
    controls: int, pattern: tuple[int, ...], draws: int, seed: int
) -> Int[np.ndarray, "draws k"]:
    """Return groups of any of so many controls, as large as the pattern.

    At most half of the controls are in a group: larger ones would all be nearly the same. Smaller
    groups vary more, which makes p-values too large rather than too small.
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
    """Return `part` different controls of each draw's chosen plate."""
    drawn = np.empty((len(chosen), part), dtype=np.intp)
    for plate in np.unique(chosen):
        rows, members = np.flatnonzero(chosen == plate), np.flatnonzero(plates == plate)
        order = rng.random((len(rows), len(members))).argsort(axis=1)
        drawn[rows] = members[order[:, :part]]
    return drawn
