"""Clusters a map: an order in which similar rows are neighbours, and the cosines in that order."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Float, Float64, Int

from phenomae.maps.aggregate import group_means
from phenomae.maps.read import ConsensusProfiles
from phenomae.maps.unit_vectors import require_directions, unit_rows

MOST_CLUSTERED = 6_000  # rows whose cosines are held at once: 300 MB, and as much to cluster them
MOST_CELLS = 700  # a side of the heat map; a page shows no more
_MOST_FLIPPED = 700  # rows whose tree is worth turning so that neighbours match, which takes n^3
_ROWS_AT_ONCE = 1_024


@dataclass(frozen=True)
class Clusters:
    """The heat map of a map, before it is drawn."""

    order: Int[np.ndarray, " g"]
    """Rows of the map as the heat map shows them, from the top."""
    tree: Float64[np.ndarray, "merges 4"]
    """Average linkage on 1 - cosine, in scipy's form, of the rows that were clustered."""
    cosines: Float64[np.ndarray, "cells cells"]
    """Means of `rows_per_cell` x `rows_per_cell` cosines, in order."""
    rows_per_cell: int

    @property
    def clustered(self) -> int:
        """How many rows the tree has; the others of a very large map stand beside their likes."""
        return len(self.tree) + 1

    def table(self, names: list[str]) -> pl.DataFrame:
        """Return which row of the heat map (from 1, at the top) a name lies in."""
        rows = np.arange(len(self.order)) // self.rows_per_cell + 1
        return pl.DataFrame({"row": rows, "name": [names[index] for index in self.order]})


def require_cosines(genes: ConsensusProfiles, path: Path) -> None:
    """Raise ValueError where a map has fewer than two rows, or as `require_directions`."""
    if len(genes.names) < 2:
        raise ValueError(f"{path} has {len(genes.names)} rows, where two can be similar")
    require_directions(genes, path)


def cluster_map(
    genes: ConsensusProfiles, most_clustered: int = MOST_CLUSTERED, most_cells: int = MOST_CELLS
) -> Clusters:
    """Cluster the rows of a map by their cosines.

    Of a map of more than `most_clustered` rows, so many are clustered, evenly spread over the map,
    and each other row is put beside the one it is most similar to.
    """
    unit = unit_rows(genes.features)
    sample = np.linspace(0, len(unit) - 1, min(len(unit), most_clustered)).round().astype(np.int64)
    tree, leaves = _cluster(unit[sample])
    order = leaves if len(sample) == len(unit) else _place(unit, sample, leaves)
    rows_per_cell = -(-len(unit) // most_cells)
    return Clusters(order, tree, block_cosines(unit[order], rows_per_cell), rows_per_cell)


def block_cosines(
    unit: Float64[np.ndarray, "g d"], size: int
) -> Float64[np.ndarray, "cells cells"]:
    """Return the mean cosine of every `size` neighbouring rows with every other `size`.

    The mean of inner products is the inner product of means, so all cosines are never held.
    """
    cells = np.arange(len(unit)) // size
    means = group_means(unit, cells, cells[-1] + 1)
    return means @ means.T


def _cluster(
    unit: Float64[np.ndarray, "g d"],
) -> tuple[Float64[np.ndarray, "merges 4"], Int[np.ndarray, " g"]]:
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    tree = linkage(
        squareform(_distances(unit), checks=False),
        "average",
        optimal_ordering=len(unit) <= _MOST_FLIPPED,
    )
    return tree, leaves_list(tree).astype(np.int64)


def _distances(unit: Float64[np.ndarray, "g d"]) -> Float64[np.ndarray, "g g"]:
    """Return 1 - cosine in one matrix: at most rows, a second one would be another 300 MB."""
    distances = unit @ unit.T
    np.subtract(1, distances, out=distances)
    return np.maximum(distances, 0, out=distances)


def _place(
    unit: Float[np.ndarray, "g d"], sample: Int[np.ndarray, " s"], leaves: Int[np.ndarray, " s"]
) -> Int[np.ndarray, " g"]:
    """Return all rows in the order of the sample's leaves, each beside the leaf it resembles."""
    place = np.argsort(leaves)
    nearest = np.empty(len(unit), dtype=np.int64)
    cosines = np.empty(len(unit))
    for start in range(0, len(unit), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        block = unit[rows] @ unit[sample].T
        nearest[rows], cosines[rows] = place[block.argmax(axis=1)], block.max(axis=1)
    return np.lexsort((-cosines, nearest))
