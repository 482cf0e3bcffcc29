"""All pairwise cosines of a map, computed tile by tile on all cores, never all in memory."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import numpy as np
from jaxtyping import Float64, Int

from phenomae.blas import one_blas_thread
from phenomae.cores import available_cores
from phenomae.progress import track

# Rows and columns of a tile. A tile of 512 x 512 (2 MB) fits a core's cache; tiles of 2,048 took
# twice as long (docs/log.md, 2026-11-25). Divisible by 8, so that tiles start at whole bytes of the
# packed bits of `cosines.mark_tails`.
SIDE = 512
_LONG_WORK = 5000  # tiles from which progress is shown, because they take over ten seconds

Tile = Float64[np.ndarray, "rows columns"]
Strip = Iterator[tuple[int, int, Tile]]
"""A row of tiles, each as first row, first column and cosines. The first tile is on the diagonal of
the cosine matrix and has each of its pairs twice; every other pair is in exactly one tile."""
Cut = Callable[[int], Strip]
"""Returns the strip of tiles that starts at a row."""
Piece = TypeVar("Piece")
Found = TypeVar("Found")
NO_VALUE = 1 + 5e-10
"""Stands in a tile for a pair of rows without a value. It is larger than any cosine, which rounding
makes 1 + 1e-15 at most, so that such pairs are the last in the order of all pairs."""


def each_strip(
    unit: Float64[np.ndarray, "g d"], work: Callable[[Strip], Found], label: str
) -> Iterator[Found]:
    """Run `work` on every strip of tiles, on all cores, and yield its results in order."""
    return run_strips(len(unit), partial(cut_cosines, unit), work, label)


def run_strips(
    count: int, cut: Callable[[int], Piece], work: Callable[[Piece], Found], label: str
) -> Iterator[Found]:
    """Do as `each_strip` for other values than cosines: `cut` returns the strip of a first row."""
    firsts = range(0, count, SIDE)
    # Progress counts tiles: strips become shorter towards the last row.
    sizes = range(len(firsts), 0, -1)
    yield from run_pieces(firsts, lambda first: work(cut(first)), label, sizes)


def run_pieces(
    pieces: Sequence[Piece], work: Callable[[Piece], Found], label: str, sizes: Sequence[int]
) -> Iterator[Found]:
    """Run `work` on every piece, on all cores, and yield its results in order.

    `sizes` are the numbers of tiles of the pieces, which progress counts.
    """
    # One BLAS thread per matrix product, so that the cosine of a pair has the same bits in every
    # call and on any number of cores; the cores are already busy with other pieces.
    with one_blas_thread(), ThreadPoolExecutor(available_cores()) as pool:
        found = pool.map(work, pieces)
        if sum(sizes) < _LONG_WORK:
            yield from found
            return
        with track(label, sum(sizes), "tiles") as advance:
            for item, size in zip(found, sizes, strict=True):
                yield item
                advance(size)


def cut_cosines(unit: Float64[np.ndarray, "g d"], first: int) -> Strip:
    """Yield the tiles of the strip that starts at row `first`."""
    rows = unit[first : first + SIDE]
    for second in range(first, len(unit), SIDE):
        yield first, second, rows @ unit[second : second + SIDE].T


class PairsInTiles:
    """Pairs of rows of a map, sorted by the tile that contains their cosine."""

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
        """Return the cosines of the pairs that are in a tile, in the order of `self.order`."""
        here = self._here(first, second)
        return tile[self._rows[here], self._columns[here]]

    def put(self, first: int, second: int, tile: Tile, into: Float64[np.ndarray, " pairs"]) -> None:
        """Write the values of the pairs that are in a tile, each at the index of its pair."""
        into[self.order[self._here(first, second)]] = self.take(first, second, tile)

    def _here(self, first: int, second: int) -> slice:
        number = first // SIDE * self._across + second // SIDE
        return slice(self._starts[number], self._starts[number + 1])
