"""The rows of a map with the highest cosines to given profiles, exactly, in little memory.

Cosines are computed in float32, a block of profiles and rows at a time. Those that could be among
the highest in float64 are few: they are computed again in float64, and ordered.
"""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int

from phenomae.blas import one_blas_thread
from phenomae.cores import available_cores
from phenomae.progress import track

PROFILES, ROWS = 256, 2048
"""Profiles and rows of a block: 2 MB of float32, which fits a core's cache; more rows if a map has
tens of thousands, because those of the first block bound what is looked at in the others."""
_DIGITS = 9  # cosines that agree in so many are equal: products of matrices round differently
_ROUNDING = 2.0**-24  # of a sum in float32
_LEFT_OUT = -2.0  # less than any cosine
# Candidates of a profile beyond which float64 alone is faster: rows that are all alike.
_MOST = 1024
_LONG_WORK = 2**33  # products of numbers from which progress is shown: about five seconds

Unit = Float64[np.ndarray, "n d"]
"""Profiles of length 1."""
Neighbours = Int[np.ndarray, "q k"]
Cosines = Float64[np.ndarray, "q k"]
Values = Float32[np.ndarray, "n m"] | Float64[np.ndarray, "n m"]


def nearest_neighbours(unit: Unit, k: int, seed: int) -> Neighbours:
    """Return the `k` rows with the highest cosine to each row, the nearest first, without itself.

    The order of rows with equal cosines is random and depends on `seed`: with one feature, for
    example, all cosines are 1 or -1, and the order of the map would decide otherwise.
    """
    return highest_cosines(unit, unit, k, np.arange(len(unit)), seed)[0]


def highest_cosines(
    profiles: Unit, rows: Unit, k: int, left_out: Int[np.ndarray, " q"], seed: int | None = None
) -> tuple[Neighbours, Cosines]:
    """Return the `k` rows with the highest cosine to each profile, the highest first.

    Profiles (q, d) and rows (g, d) have length 1. `left_out` is a row for each profile that is not
    looked at, such as the row that the profile is itself. Rows with equal cosines are in their
    order on the map, or with a `seed` in a random one.
    """
    assert 0 < k < len(rows)
    search = _Search(profiles, rows, k, left_out, seed)
    firsts = range(0, len(profiles), PROFILES)
    # One thread of BLAS for each product, so that a cosine has the same bits on any number of
    # cores; they are busy with other blocks.
    with one_blas_thread(), ThreadPoolExecutor(available_cores()) as pool:
        found = pool.map(search.block, firsts)
        if len(profiles) * rows.size < _LONG_WORK:
            parts = list(found)
        else:
            parts = []
            with track("nearest rows", len(profiles), "profiles") as advance:
                for part in found:
                    parts.append(part)
                    advance(len(part[0]))
    return np.concatenate([ids for ids, _ in parts]), np.concatenate([its for _, its in parts])


class _Search:
    """The search for some profiles at a time."""

    def __init__(
        self,
        profiles: Unit,
        rows: Unit,
        k: int,
        left_out: Int[np.ndarray, " q"],
        seed: int | None,
    ) -> None:
        self._profiles, self._rows = profiles, rows
        self._k, self._left_out, self._seed = k, left_out, seed
        self._rows_32 = rows.astype(np.float32)
        # Of the numbers that are multiplied, and of their sum: a bound, not an estimate.
        self._error = np.float32((rows.shape[1] + 4) * _ROUNDING)

    def block(self, first: int) -> tuple[Neighbours, Cosines]:
        """Return the highest cosines of the profiles from `first` on."""
        some = slice(first, first + PROFILES)
        profiles, left_out = self._profiles[some], self._left_out[some]
        found = self._candidates(profiles.astype(np.float32), left_out)
        if found is None:
            rows, cosines = self._all(profiles, left_out)
        else:
            rows, cosines = self._in_float64(profiles, *found)
        # The candidates are all rows that could be as high as the k-th, equal ones included.
        order = rows
        if self._seed is not None:
            order = np.random.default_rng([self._seed, first]).random(rows.shape)
        places = np.lexsort((order, -np.round(cosines, _DIGITS)), axis=1)[:, : self._k]
        return np.take_along_axis(rows, places, 1), np.take_along_axis(cosines, places, 1)

    def _candidates(
        self, profiles: Float32[np.ndarray, "n d"], left_out: Int[np.ndarray, " n"]
    ) -> tuple[Int[np.ndarray, "n m"], Bool[np.ndarray, "n m"]] | None:
        """Return the rows that may be among the highest, and which of the (n, m) are rows.

        None if they are many.
        """
        width = max(ROWS, math.ceil(4 * math.sqrt(self._k * len(self._rows))))
        parts, bounds, total = [], None, 0
        for start in range(0, len(self._rows), width):
            values = profiles @ self._rows_32[start : start + width].T
            _leave_out(values, left_out - start)
            if bounds is None:
                if values.shape[1] <= self._k:
                    return None
                bounds = _kth(values, self._k) - 2 * self._error
            profile, row = np.divmod(np.flatnonzero(values >= bounds[:, None]), values.shape[1])
            parts.append((profile, row + start, values[profile, row]))
            total += len(row)
            if total > _MOST * len(profiles):
                return None
        profile, row, value = map(np.concatenate, zip(*parts, strict=True))
        values, rows = _stack(profile, row, value, len(profiles))
        near = values >= _kth(values, self._k)[:, None] - 2 * self._error
        return _front(rows, near)

    def _in_float64(
        self, profiles: Unit, rows: Int[np.ndarray, "n m"], are_rows: Bool[np.ndarray, "n m"]
    ) -> tuple[Int[np.ndarray, "n m"], Float64[np.ndarray, "n m"]]:
        """Return the candidates and their cosines in float64."""
        cosines = np.full(rows.shape, _LEFT_OUT)
        for number, (profile, its, used) in enumerate(zip(profiles, rows, are_rows, strict=True)):
            cosines[number, used] = self._rows[its[used]] @ profile
        return rows, cosines

    def _all(
        self, profiles: Unit, left_out: Int[np.ndarray, " n"]
    ) -> tuple[Int[np.ndarray, "n g"], Float64[np.ndarray, "n g"]]:
        """Return all rows and their cosines in float64."""
        cosines = profiles @ self._rows.T
        _leave_out(cosines, left_out)
        return np.tile(np.arange(len(self._rows)), (len(profiles), 1)), cosines


def _leave_out(values: Values, rows: Int[np.ndarray, " n"]) -> None:
    inside = np.flatnonzero((rows >= 0) & (rows < values.shape[1]))
    values[inside, rows[inside]] = _LEFT_OUT


def _kth(values: Float32[np.ndarray, "n m"], k: int) -> Float32[np.ndarray, " n"]:
    """Return the k-th highest value of each line."""
    place = values.shape[1] - k
    return np.partition(values, place, axis=1)[:, place]


def _stack(
    profile: Int[np.ndarray, " c"],
    row: Int[np.ndarray, " c"],
    value: Float32[np.ndarray, " c"],
    count: int,
) -> tuple[Float32[np.ndarray, "n m"], Int[np.ndarray, "n m"]]:
    """Return the candidates of each profile as one line; values of filled places are -2."""
    order = np.argsort(profile, kind="stable")
    sizes = np.bincount(profile, minlength=count)
    place = np.arange(len(profile)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    values = np.full((count, sizes.max()), _LEFT_OUT, dtype=np.float32)
    rows = np.zeros(values.shape, dtype=np.int64)
    values[profile[order], place], rows[profile[order], place] = value[order], row[order]
    return values, rows


def _front(
    rows: Int[np.ndarray, "n m"], near: Bool[np.ndarray, "n m"]
) -> tuple[Int[np.ndarray, "n c"], Bool[np.ndarray, "n c"]]:
    """Return the marked rows of each line first, without the places that no line needs."""
    most = near.sum(axis=1).max()
    places = np.argsort(~near, axis=1, kind="stable")[:, :most]
    return np.take_along_axis(rows, places, axis=1), np.take_along_axis(near, places, axis=1)
