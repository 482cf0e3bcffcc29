"""The nearest neighbours of every row of a map, from one pass over all pairs of rows.

The k-th highest cosine of a row within a random sample of the rows is a lower bound of its k-th
highest cosine among all rows. The pass therefore keeps the cosines above the bounds, which are few,
and the result is exact.
"""

import math
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int

from phenomae.evaluation.recall.cosines import Unit
from phenomae.evaluation.recall.tiles import SIDE, Strip, each_strip, run_pieces

Neighbours = Int[np.ndarray, "g k"]
_EQUAL = 1e-9
"""Cosines that differ by less count as equal: rounding differs between products of matrices."""
# With a sample of 4 sqrt(k g) of g rows, sqrt(k g) / 4 cosines of a row are above its bound on
# average: 1.7 million for 17,000 rows and k = 10.
_SAMPLE = 4


class _Found(NamedTuple):
    """Candidates for the nearest neighbours of some rows."""

    rows: Int[np.ndarray, " m"]
    columns: Int[np.ndarray, " m"]
    cosines: Float64[np.ndarray, " m"]


def nearest_neighbours(unit: Unit, k: int, seed: int) -> Neighbours:
    """Return the `k` rows with the highest cosine to each row, the nearest first, without itself.

    The order of rows with equal cosines is random and depends on `seed`: with one feature, for
    example, all cosines are 1 or -1, and the order of the map would decide otherwise.
    """
    assert 0 < k < len(unit)
    size = min(len(unit), max(k + 1, math.ceil(_SAMPLE * math.sqrt(k * len(unit)))))
    sample = np.sort(np.random.default_rng(seed).permutation(len(unit))[:size])
    found = list(_search_sample(unit, sample, k, seed))
    if size < len(unit):
        bounds = np.concatenate([some.cosines.reshape(-1, k)[:, -1] for some in found])
        strips = each_strip(unit, partial(_look, bounds + _EQUAL), "nearest neighbours")
        found += [some for strip in strips for some in strip]
    return _rank(found, len(unit), k, seed)


def _search_sample(
    unit: Unit, sample: Int[np.ndarray, " m"], k: int, seed: int
) -> Iterator[_Found]:
    """Yield the `k` nearest rows of the sample for each row, the nearest first."""
    chosen = unit[sample]

    def search(first: int) -> _Found:
        rows = np.arange(first, min(first + SIDE, len(unit)))
        cosines = unit[rows] @ chosen.T
        cosines[rows[:, None] == sample] = -np.inf
        # Less than what counts as equal, so that only the order of equal ones is random.
        drawn = np.random.default_rng([seed, first]).random(cosines.shape)
        order = cosines + _EQUAL * drawn
        kept = np.argpartition(order, -k, axis=1)[:, -k:]
        ordered = np.argsort(-np.take_along_axis(order, kept, axis=1), axis=1)
        kept = np.take_along_axis(kept, ordered, axis=1)
        values = np.take_along_axis(cosines, kept, axis=1)
        return _Found(rows.repeat(k), sample[kept].ravel(), values.ravel())

    firsts = range(0, len(unit), SIDE)
    sizes = [-(-len(sample) // SIDE)] * len(firsts)
    yield from run_pieces(firsts, search, "nearest in a sample", sizes)


def _look(bounds: Float64[np.ndarray, " g"], strip: Strip) -> list[_Found]:
    """Return the pairs of the strip whose cosine is above the bound of the first of the two."""
    found = []
    for first, second, tile in strip:
        of_rows, of_columns = (bounds[start : start + SIDE] for start in (first, second))
        above = tile > of_rows[:, None]
        if first == second:
            np.fill_diagonal(above, False)
        rows, columns = _places(above)
        found.append(_Found(rows + first, columns + second, tile[rows, columns]))
        # A tile on the diagonal has each of its pairs twice.
        if first != second:
            rows, columns = _places(tile > of_columns)
            found.append(_Found(columns + second, rows + first, tile[rows, columns]))
    return found


def _places(marks: Bool[np.ndarray, "rows columns"]) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows and columns of the marks; few of them are set."""
    # A third of the time of np.nonzero, which has a fast path for one axis only.
    rows, columns = np.divmod(np.flatnonzero(marks), marks.shape[1])
    return rows, columns


def _rank(found: list[_Found], count: int, k: int, seed: int) -> Neighbours:
    """Return the `k` highest of the candidates of each row, which may be listed twice."""
    rows, columns, cosines = map(np.concatenate, zip(*found, strict=True))
    _, once = np.unique(rows * count + columns, return_index=True)
    rows, columns, cosines = rows[once], columns[once], cosines[once]
    order = cosines + _EQUAL * np.random.default_rng([seed, count]).random(len(cosines))
    # One key, because sorting by two takes twice the time. Cosines are from -1 to 1.
    ascending = np.argsort(4.0 * rows - order)
    starts = np.searchsorted(rows[ascending], np.arange(count))
    return columns[ascending][starts[:, None] + np.arange(k)]
