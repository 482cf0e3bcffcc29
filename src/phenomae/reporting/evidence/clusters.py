"""Hierarchical clustering of the rows of a map, and their cosines in the clustered order."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Float, Float64, Int

from phenomae.maps.aggregate import group_means
from phenomae.maps.read import ConsensusProfiles
from phenomae.maps.unit_vectors import require_directions, unit_rows
from phenomae.progress import count_of
from phenomae.reporting.evidence.null_cosines import NullCosines, shuffle_features

MAX_CLUSTERED = 6_000  # rows; their cosine matrix takes 300 MB, and clustering another 300 MB
MAX_CELLS = 700  # per side of the heat map, because a page shows no more pixels
_MAX_OPTIMAL_ORDER = 700  # rows, because optimal leaf ordering takes O(n^3)
_ROWS_AT_ONCE = 1_024


@dataclass(frozen=True)
class Clusters:
    """The clustered order of the rows of a map, the tree, and the cosines of the heat map."""

    order: Int[np.ndarray, " g"]
    """Row indices of the map in the order of the heat map, from the top."""
    tree: Float64[np.ndarray, "merges 4"]
    """Average linkage on 1 - cosine of the clustered rows, in scipy's format."""
    cosines: Float64[np.ndarray, "cells cells"]
    """Cells of the heat map, each the mean of `rows_per_cell` x `rows_per_cell` cosines of
    different rows; NaN if a cell has none, as those on the diagonal with one row."""
    rows_per_cell: int
    links: Float64[np.ndarray, " links"]
    """Cosine of each row and the next one in `order`."""
    null: NullCosines
    """Null distribution of the cosines."""

    @property
    def clustered(self) -> int:
        """Number of rows in the tree; less than the rows of the map for very large maps."""
        return len(self.tree) + 1

    def table(self, names: list[str]) -> pl.DataFrame:
        """Return each name with the row of its cell in the heat map, counted from 1 at the top."""
        rows = np.arange(len(self.order)) // self.rows_per_cell + 1
        return pl.DataFrame({"row": rows, "name": [names[index] for index in self.order]})


def require_cosines(genes: ConsensusProfiles, path: Path) -> None:
    """Raise ValueError if a map has fewer than two rows, or a row that has no cosine."""
    if len(genes.names) < 2:
        raise ValueError(
            f"{path} has {count_of(len(genes.names), 'row')}: at least two are needed to "
            "compare rows"
        )
    require_directions(genes, path)


def cluster_map(
    genes: ConsensusProfiles, max_clustered: int = MAX_CLUSTERED, max_cells: int = MAX_CELLS
) -> Clusters:
    """Cluster the rows of a map by their cosines.

    If the map has more than `max_clustered` rows, only a sample of this size, evenly spaced over
    the map, is clustered; every other row is placed next to the most similar row of the sample.
    """
    unit = unit_rows(genes.features)
    sample = np.linspace(0, len(unit) - 1, min(len(unit), max_clustered)).round().astype(np.int64)
    tree, leaves = _cluster(unit[sample])
    order = leaves if len(sample) == len(unit) else _place(unit, sample, leaves)
    rows_per_cell = -(-len(unit) // max_cells)
    ordered = unit[order]
    links = np.einsum("nd,nd->n", ordered[:-1], ordered[1:])
    cells = block_cosines(ordered, rows_per_cell)
    return Clusters(order, tree, cells, rows_per_cell, links, shuffle_features(unit))


def block_cosines(
    unit: Float64[np.ndarray, "g d"], size: int
) -> Float64[np.ndarray, "cells cells"]:
    """Return the mean cosines between blocks of `size` neighbouring rows, without those of a row
    and itself; NaN for a block of one row and itself.

    The mean of the inner products is the inner product of the means, so the full cosine matrix is
    never in memory.
    """
    cells = np.arange(len(unit)) // size
    means = group_means(unit, cells, cells[-1] + 1)
    cosines = means @ means.T
    sizes = np.bincount(cells)
    with np.errstate(divide="ignore", invalid="ignore"):  # 0 / 0 in blocks of one row
        others = (sizes**2 * np.diag(cosines) - sizes) / (sizes**2 - sizes)
    np.fill_diagonal(cosines, np.where(sizes > 1, others, np.nan))
    return cosines


def _cluster(
    unit: Float64[np.ndarray, "g d"],
) -> tuple[Float64[np.ndarray, "merges 4"], Int[np.ndarray, " g"]]:
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    tree = linkage(
        squareform(_distances(unit), checks=False),
        "average",
        optimal_ordering=len(unit) <= _MAX_OPTIMAL_ORDER,
    )
    return tree, leaves_list(tree).astype(np.int64)


def _distances(unit: Float64[np.ndarray, "g d"]) -> Float64[np.ndarray, "g g"]:
    """Return 1 - cosine, computed in place, because a second matrix would take another 300 MB."""
    distances = unit @ unit.T
    np.subtract(1, distances, out=distances)
    # Rounding can make the cosine of equal rows exceed 1, and linkage refuses negative distances.
    return np.maximum(distances, 0, out=distances)


def _place(
    unit: Float[np.ndarray, "g d"], sample: Int[np.ndarray, " s"], leaves: Int[np.ndarray, " s"]
) -> Int[np.ndarray, " g"]:
    """Return all rows in the order of the sample's leaves, each next to the most similar leaf."""
    place = np.argsort(leaves)
    nearest = np.empty(len(unit), dtype=np.int64)
    cosines = np.empty(len(unit))
    for start in range(0, len(unit), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        block = unit[rows] @ unit[sample].T
        nearest[rows], cosines[rows] = place[block.argmax(axis=1)], block.max(axis=1)
    # The rows that are placed at one leaf are sorted from the most to the least similar.
    return np.lexsort((-cosines, nearest))
