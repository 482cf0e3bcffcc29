"""Known complexes of the rows of a map, from known pairs."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from jaxtyping import Int

NONE = -1
"""Number of the complex of a row that is in none."""


def find_complexes(names: Sequence[str], pairs: pl.DataFrame) -> Int[np.ndarray, " g"]:
    """Return the number of the complex of each row, in order of first appearance; `NONE` if none.

    Known pairs come from lists of pairs as well as of sets, and sets may overlap. A complex is
    therefore a group of rows that are all known pairs of each other: each row, in order, joins the
    last such group that it fits into. `pairs` has the columns entity1 and entity2.
    """
    partners: dict[str, set[str]] = {name: set() for name in names}
    for one, other in pairs.select("entity1", "entity2").iter_rows():
        partners[one].add(other)
        partners[other].add(one)
    complexes: list[set[str]] = []
    of_name: dict[str, int] = {}
    for name in names:
        near = {of_name[partner] for partner in partners[name] if partner in of_name}
        fitting = [number for number in near if complexes[number] <= partners[name]]
        if fitting:
            of_name[name] = max(fitting)
            complexes[of_name[name]].add(name)
        else:
            of_name[name] = len(complexes)
            complexes.append({name})
    return _renumber([of_name[name] for name in names], complexes)


def _renumber(numbers: list[int], complexes: list[set[str]]) -> Int[np.ndarray, " g"]:
    """Number the complexes of at least two rows by first appearance."""
    of_number: dict[int, int] = {}
    for number in numbers:
        if len(complexes[number]) > 1:
            of_number.setdefault(number, len(of_number))
    return np.array([of_number.get(number, NONE) for number in numbers])
