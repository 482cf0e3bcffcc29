"""All pairwise cosines of a map, tile by tile on every core, never all in memory at once."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from jaxtyping import Float64, Int
from threadpoolctl import threadpool_limits

from phenomae.cores import available_cores
from phenomae.progress import track

SIDE = 512  # rows and columns of a tile: 2 MB, which fits a core's cache; divisible by 8
_LONG_WORK = 100  # strips; more take over ten seconds, so progress is shown

Tile = Float64[np.ndarray, "rows columns"]
Strip = Iterator[tuple[int, int, Tile]]
"""A row of tiles: first row, first column, cosines. The first tile is on the diagonal, so it has
each of its pairs twice; otherwise every pair is in one tile."""
Found = TypeVar("Found")


def each_strip(
    unit: Float64[np.ndarray, "g d"], work: Callable[[Strip], Found], label: str
) -> Iterator[Found]:
    """Yield what `work` returns for every strip of tiles, in order."""
    # One BLAS thread per product: the same pair of rows then gives the same bits in every call and
    # on any number of cores, and the cores are already busy with strips of their own.
    firsts = range(0, len(unit), SIDE)
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(available_cores()) as pool:
        found = pool.map(lambda first: work(_cut_strip(unit, first)), firsts)
        if len(firsts) < _LONG_WORK:
            yield from found
            return
        with track(label, _area(firsts), "tiles") as advance:
            for done, item in enumerate(found):
                yield item
                advance(len(firsts) - done)


def _area(firsts: range) -> int:
    return len(firsts) * (len(firsts) + 1) // 2


def _cut_strip(unit: Float64[np.ndarray, "g d"], first: int) -> Strip:
    rows = unit[first : first + SIDE]
    for second in range(first, len(unit), SIDE):
        yield first, second, rows @ unit[second : second + SIDE].T


class PairsInTiles:
    """Pairs of rows, sorted by the tile that holds their cosine."""

    def __init__(self, pairs: Int[np.ndarray, "pairs 2"], count: int) -> None:
        self._across = -(-count // SIDE)
        low, high = pairs.min(axis=1, initial=count), pairs.max(axis=1, initial=0)
        # Sorted by tile once, so that each tile finds its pairs as one slice.
        tiles = low // SIDE * self._across + high // SIDE
        self.order = np.argsort(tiles, kind="stable")
        """Indices of the pairs in the order in which strips and tiles are visited."""
        self._rows, self._columns = low[self.order] % SIDE, high[self.order] % SIDE
        self._starts = np.searchsorted(tiles[self.order], np.arange(self._across**2 + 1))

    def take(self, first: int, second: int, tile: Tile) -> Float64[np.ndarray, " some"]:
        """Return the cosines of the pairs in a tile, in the order of `order`."""
        number = first // SIDE * self._across + second // SIDE
        here = slice(self._starts[number], self._starts[number + 1])
        return tile[self._rows[here], self._columns[here]]
