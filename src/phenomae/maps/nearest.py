"""The rows of a map with the highest cosines to given profiles, or to each other, exactly.

Cosines are computed in float32, a block of profiles and rows at a time. Those that could be among
the highest in float64 are few: they are computed again in float64, and ordered. One pass finds
them, because the k-th highest cosine to some of the rows is a lower bound of that to all.
"""

import math
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int

from phenomae.blas import one_blas_thread
from phenomae.cores import available_cores
from phenomae.maps.cosine_order import order_by_cosine
from phenomae.progress import tracked

SIDE, ROWS = 512, 2048
"""Profiles, and rows, of a block: 1 MB of float32 and a core's cache; and the rows of the bounds,
of which there are more if a map has tens of thousands."""
_ROUNDING = 2.0**-24  # of a sum in float32
_LEFT_OUT = -2.0  # less than any cosine
# Share of a block beyond which float64 alone is faster: rows that are all alike.
_MANY = 0.25
_NUMBERS = 1 << 17  # of the rows that candidates are compared with at a time: 1 MB

Unit = Float64[np.ndarray, "n d"]
"""Profiles of length 1."""
Neighbors = Int[np.ndarray, "q k"]
Cosines = Float64[np.ndarray, "q k"]
Values = Float32[np.ndarray, "n m"] | Float64[np.ndarray, "n m"]


def nearest_neighbors(unit: Unit, k: int, seed: int) -> Neighbors:
    """Return the `k` rows with the highest cosine to each row, the nearest first, without itself.

    The order of rows with equal cosines is random and depends on `seed`: with one feature, for
    example, all cosines are 1 or -1, and the order of the map would decide otherwise.
    """
    [(neighbors, _)] = compare_all(unit, k, (1.0,), seed)
    return neighbors


def compare_all(
    unit: Unit, k: int, signs: tuple[float, ...] = (1.0, -1.0), seed: int | None = None
) -> list[tuple[Neighbors, Cosines]]:
    """Do as `highest_cosines` for all rows of a map among each other, and for each of `signs`.

    With sign -1 the highest cosines to the opposite of each row are those to its farthest rows.
    Each pair of rows is computed once.
    """
    own = np.arange(len(unit))
    found = _compare_once(unit, k, signs, seed) if len(unit) > ROWS else None
    if found is not None:
        return found
    return [highest_cosines(sign * unit, unit, k, own, seed) for sign in signs]


def highest_cosines(
    profiles: Unit, rows: Unit, k: int, left_out: Int[np.ndarray, " q"], seed: int | None = None
) -> tuple[Neighbors, Cosines]:
    """Return the `k` rows with the highest cosine to each profile, the highest first.

    Profiles (q, d) and rows (g, d) have length 1. `left_out` is a row for each profile that is not
    looked at, such as the row that the profile is itself. Rows with equal cosines are in their
    order on the map, or with a `seed` in a random one.
    """
    assert 0 < k < len(rows)
    search = _Search(rows, k, seed)
    blocks = [
        partial(search.block, profiles[first : first + SIDE], left_out[first : first + SIDE], first)
        for first in range(0, len(profiles), SIDE)
    ]
    with one_blas_thread(), ThreadPoolExecutor(available_cores()) as pool:
        found = [future.result() for future in [pool.submit(block) for block in blocks]]
    return _join(found)


def _join(parts: list[tuple[Neighbors, Cosines]]) -> tuple[Neighbors, Cosines]:
    return np.concatenate([ids for ids, _ in parts]), np.concatenate([its for _, its in parts])


class _Found(NamedTuple):
    """Rows that may be among the highest of some profiles of a block."""

    profile: Int[np.ndarray, " c"]
    row: Int[np.ndarray, " c"]
    value: Float32[np.ndarray, " c"]


@dataclass(frozen=True)
class _Search:
    """What is the same for all blocks of a search."""

    rows: Unit
    k: int
    seed: int | None

    @cached_property
    def rows_32(self) -> Float32[np.ndarray, "g d"]:
        return self.rows.astype(np.float32)

    @cached_property
    def error(self) -> np.float32:
        """Twice the largest error of a cosine by rounding: of its numbers, and of their sum."""
        return np.float32(2 * (self.rows.shape[1] + 4) * _ROUNDING)

    @cached_property
    def bounding(self) -> int:
        """Number of rows, the first of the map, whose cosines bound the others."""
        return max(ROWS, math.ceil(4 * math.sqrt(self.k * len(self.rows))))

    def bounds(self, values: Float32[np.ndarray, "n m"]) -> Float32[np.ndarray, " n"]:
        """Return what the k-th highest cosine of each line is at least, of all rows."""
        if values.shape[1] <= self.k:
            return np.full(len(values), _LEFT_OUT / 2, dtype=np.float32)
        return _kth(values, self.k) - self.error

    def block(
        self, profiles: Unit, left_out: Int[np.ndarray, " n"], first: int
    ) -> tuple[Neighbors, Cosines]:
        """Return the highest cosines of a block of profiles, of which the first has a number."""
        found = self._look(profiles.astype(np.float32), left_out)
        if found is not None:
            return self.order(profiles, _concatenate(found), first)
        cosines = profiles @ self.rows.T
        _leave_out(cosines, left_out)
        rows = np.broadcast_to(np.arange(len(self.rows)), cosines.shape)
        return self._highest(rows, cosines, first)

    def _look(
        self, profiles: Float32[np.ndarray, "n d"], left_out: Int[np.ndarray, " n"]
    ) -> list[_Found] | None:
        """Return the candidates of a block; None if they are many."""
        found: list[_Found] = []
        bounds = None
        for start in range(0, len(self.rows), self.bounding):
            values = profiles @ self.rows_32[start : start + self.bounding].T
            _leave_out(values, left_out - start)
            bounds = self.bounds(values) if bounds is None else bounds
            profile, row, value = _where(values >= bounds[:, None], values)
            if len(row) > _MANY * values.size and len(self.rows) > self.bounding:
                return None
            found.append(_Found(profile, row + start, value))
        return found

    def order(self, profiles: Unit, found: _Found, first: int) -> tuple[Neighbors, Cosines]:
        """Return the highest of the candidates of a block by their cosines in float64."""
        values, rows = _stack(found, len(profiles))
        near = values >= _kth(values, self.k)[:, None] - self.error
        max_near = near.sum(axis=1).max()
        places = np.argpartition(values, values.shape[1] - max_near, axis=1)[:, -max_near:]
        rows, near = (np.take_along_axis(its, places, axis=1) for its in (rows, near))
        cosines = self._compare(profiles, rows)
        cosines[~near] = _LEFT_OUT
        return self._highest(rows, cosines, first)

    def _compare(self, profiles: Unit, rows: Int[np.ndarray, "n m"]) -> Float64[np.ndarray, "n m"]:
        """Return the cosines of each profile to rows of its own."""
        cosines = np.empty(rows.shape)
        # A part at a time: where rows are alike, each profile has most rows of the map as
        # candidates, and copies of them for all profiles would take gigabytes.
        columns = min(rows.shape[1], max(1, _NUMBERS // profiles.shape[1]))
        lines = max(1, _NUMBERS // (columns * profiles.shape[1]))
        for top in range(0, len(rows), lines):
            its = profiles[top : top + lines]
            for left in range(0, rows.shape[1], columns):
                part = np.s_[top : top + lines, left : left + columns]
                cosines[part] = np.einsum("nmd,nd->nm", self.rows[rows[part]], its)
        return cosines

    def _highest(
        self, rows: Int[np.ndarray, "n m"], cosines: Float64[np.ndarray, "n m"], first: int
    ) -> tuple[Neighbors, Cosines]:
        # The candidates are all rows that could be as high as the k-th, equal ones included.
        order = rows
        if self.seed is not None:
            order = np.random.default_rng([self.seed, first]).random(rows.shape)
        places = order_by_cosine(cosines, order)[:, : self.k]
        return np.take_along_axis(rows, places, 1), np.take_along_axis(cosines, places, 1)


class _Strip(NamedTuple):
    """The candidates in the blocks to the right of one on the diagonal."""

    found: list[tuple[int, int, _Found]]
    """Number of the sign, first profile of the block, and candidates."""
    are_many: bool


def _compare_once(
    unit: Unit, k: int, signs: tuple[float, ...], seed: int | None
) -> list[tuple[Neighbors, Cosines]] | None:
    """Do as `compare_all`; None if so many rows are alike that there are many candidates."""
    search, firsts = _Search(unit, k, seed), range(0, len(unit), SIDE)
    parts: dict[tuple[int, int], list[_Found]] = defaultdict(list)

    # One thread of BLAS for each product, so that a cosine has the same bits on any number of
    # cores; they are busy with other blocks.
    with one_blas_thread(), ThreadPoolExecutor(available_cores()) as pool:
        bounds = np.concatenate(list(pool.map(partial(_bounds, search, signs), firsts)), axis=1)
        strips = pool.map(partial(_strip, search, signs, bounds), firsts)
        label = "nearest rows" if len(unit) > 20 * ROWS else None
        for strip in strips if label is None else tracked(strips, label, len(firsts), "strips"):
            if strip.are_many:
                pool.shutdown(cancel_futures=True)
                return None
            for sign, first, found in strip.found:
                parts[sign, first].append(found)

        def order(sign: int, first: int) -> tuple[Neighbors, Cosines]:
            profiles = signs[sign] * unit[first : first + SIDE]
            return search.order(profiles, _concatenate(parts.pop((sign, first))), first)

        return [_join(list(pool.map(partial(order, sign), firsts))) for sign in range(len(signs))]


def _bounds(
    search: _Search, signs: tuple[float, ...], first: int
) -> Float32[np.ndarray, "signs n"]:
    values = search.rows_32[first : first + SIDE] @ search.rows_32[: search.bounding].T
    bounds = []
    for sign in signs:
        signed = np.float32(sign) * values
        _leave_out(signed, np.arange(first, first + len(values)))
        bounds.append(search.bounds(signed))
    return np.stack(bounds)


def _strip(
    search: _Search,
    signs: tuple[float, ...],
    bounds: Float32[np.ndarray, "signs g"],
    first: int,
) -> _Strip:
    found: list[tuple[int, int, _Found]] = []
    for second in range(first, len(search.rows), SIDE):
        values = search.rows_32[first : first + SIDE] @ search.rows_32[second : second + SIDE].T
        for number, sign in enumerate(signs):
            signed = values if sign == 1 else np.float32(sign) * values
            if first == second:
                signed = signed.copy()
                np.fill_diagonal(signed, _LEFT_OUT)
            of_profiles, of_rows = (bounds[number, at : at + SIDE] for at in (first, second))
            profile, row, value = _where(signed >= of_profiles[:, None], signed)
            if len(row) > _MANY * values.size:
                return _Strip([], are_many=True)
            found.append((number, first, _Found(profile, row + second, value)))
            if first != second:  # a block on the diagonal has each of its pairs twice
                row, profile, value = _where(signed >= of_rows, signed)
                found.append((number, second, _Found(profile, row + first, value)))
    return _Strip(found, are_many=False)


def _where(marks: Bool[np.ndarray, "n m"], values: Values) -> Iterator[np.ndarray]:
    """Yield lines, columns and values of the marks; few of them are set."""
    # A third of the time of np.nonzero, which has a fast path for one axis only.
    flat = np.flatnonzero(marks)
    yield from np.divmod(flat, marks.shape[1])
    yield values.ravel()[flat]


def _leave_out(values: Values, rows: Int[np.ndarray, " n"]) -> None:
    inside = np.flatnonzero((rows >= 0) & (rows < values.shape[1]))
    values[inside, rows[inside]] = _LEFT_OUT


def _kth(values: Float32[np.ndarray, "n m"], k: int) -> Float32[np.ndarray, " n"]:
    """Return the k-th highest value of each line."""
    place = values.shape[1] - k
    return np.partition(values, place, axis=1)[:, place]


def _concatenate(parts: list[_Found]) -> _Found:
    return _Found(*map(np.concatenate, zip(*parts, strict=True)))


def _stack(found: _Found, count: int) -> tuple[Float32[np.ndarray, "n m"], Int[np.ndarray, "n m"]]:
    """Return the candidates of each profile as one line; values of filled places are -2."""
    order = np.argsort(found.profile, kind="stable")
    sizes = np.bincount(found.profile, minlength=count)
    place = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    values = np.full((count, sizes.max()), _LEFT_OUT, dtype=np.float32)
    rows = np.zeros(values.shape, dtype=np.int64)
    places = found.profile[order], place
    values[places], rows[places] = found.value[order], found.row[order]
    return values, rows
