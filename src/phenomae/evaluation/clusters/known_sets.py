"""Known sets of the names of a map, from lists of sets, complexes or pairs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int

from phenomae.evaluation.annotations import Annotation, pairs_on_map
from phenomae.evaluation.questions.complexes import read_complexes, rows_on_map
from phenomae.paths import PathLike

Sets = dict[str, Int[np.ndarray, " k"]]
"""Rows of the map of each set, sorted, by its name."""
_SHOWN = 3  # names in the name of a set of partners


def sets_on_map(
    annotations: Sequence[Annotation], complexes: PathLike | None, names: list[str]
) -> dict[str, Sets]:
    """Return the sets of each source on a map, without those that have no name on it.

    A list of pairs has no sets: there, each name with its partners is one. Names with the same
    partners and each other, as in a complex, make one set.
    """
    found = {}
    for annotation in annotations:
        sets = annotation.sets
        found[annotation.name] = (
            _partners(annotation, names) if sets is None else rows_on_map(sets, names)
        )
    if complexes is not None:
        source = Path(complexes)
        if source.stem in found:
            raise ValueError(
                f"annotations and complexes both have a source {source.stem}: rename one of them"
            )
        found[source.stem] = rows_on_map(read_complexes(source), names)
    return {
        source: {name: rows for name, rows in sets.items() if len(rows)}
        for source, sets in found.items()
    }


def _partners(annotation: Annotation, names: list[str]) -> Sets:
    """Return each row of the map that has partners, with them."""
    partners: dict[int, set[int]] = {}
    for one, other in pairs_on_map(annotation, names).tolist():
        partners.setdefault(one, {one}).add(other)
        partners.setdefault(other, {other}).add(one)
    centers: dict[tuple[int, ...], list[int]] = {}
    for row in sorted(partners):
        centers.setdefault(tuple(sorted(partners[row])), []).append(row)
    return {
        _name([names[row] for row in rows]): np.array(members) for members, rows in centers.items()
    }


def _name(centers: list[str]) -> str:
    more = f" and {len(centers) - _SHOWN} more" if len(centers) > _SHOWN else ""
    return f"partners of {', '.join(centers[:_SHOWN])}{more}"


def largest(sets: Mapping[str, Sets]) -> int:
    """Return the number of rows of the largest set; 0 if there is none."""
    return max((len(rows) for each in sets.values() for rows in each.values()), default=0)
