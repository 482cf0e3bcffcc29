"""Precision at k: the fraction of nearest neighbors of annotated genes that are known partners.

Precision at 1 is the nearest-neighbor hit rate. Neighbors are by cosine, the gene itself left
out; the mean is over the genes with at least one known pair on the map.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Bool, Float64, Int, UInt8

from phenomae.evaluation.recall.bootstrap import interval, resampled_recalls
from phenomae.evaluation.recall.cosines import Pairs, Unit, is_marked, mark_pairs
from phenomae.evaluation.recall.permutation import degree_strata, shuffle_rows
from phenomae.evaluation.recall.tables import read_results_table, show_filled
from phenomae.evaluation.settings import BenchmarkSettings
from phenomae.maps.nearest import Neighbors, nearest_neighbors
from phenomae.maps.p_values import p_values
from phenomae.progress import count_of, info

PRECISION_FILE = "precision.csv"
PRECISION: dict[str, pl.DataType] = {
    "source": pl.String(),
    "k": pl.Int64(),
    "precision": pl.Float64(),
    "n_genes": pl.Int64(),
    "chance": pl.Float64(),
    "max_precision": pl.Float64(),
    "ci_low": pl.Float64(),
    "ci_high": pl.Float64(),
    "p": pl.Float64(),
}


def usable_neighbors(neighbors: Sequence[int], count: int) -> list[int]:
    """Return the numbers of neighbors that a gene of a map of `count` genes has; logs others."""
    usable = [k for k in neighbors if k < count]
    if left_out := [str(k) for k in neighbors if k >= count]:
        info(
            f"neighbors {' '.join(left_out)}: left out, because the map has "
            f"{count_of(count, 'gene')}"
        )
    return usable


def measure_precision(
    unit: Unit, pairs: Mapping[str, Pairs], ks: Sequence[int], settings: BenchmarkSettings
) -> pl.DataFrame:
    """Return precision.csv: the precision at each of `ks` for every source.

    `pairs` are the known pairs of every source, as row indices of the map.
    """
    nearest = nearest_neighbors(unit, max(ks), settings.seed)
    parts = [_rows(source, nearest, known, ks, settings) for source, known in pairs.items()]
    return pl.concat(parts)


def print_precision(results: Path) -> None:
    """Print precision.csv, if there is one; raises ValueError if it is damaged."""
    if (results / PRECISION_FILE).exists():
        print()
        show_filled(read_results_table(results / PRECISION_FILE, PRECISION))


def _rows(
    source: str,
    nearest: Neighbors,
    known: Pairs,
    ks: Sequence[int],
    settings: BenchmarkSettings,
) -> pl.DataFrame:
    """Return the rows of one source."""
    marks = mark_pairs(known, len(nearest))
    genes, partners = np.unique(known, return_counts=True)
    hits = _find_hits(nearest, genes, marks)
    drawn = _resample(nearest, genes, hits, ks, settings)
    null = _shuffle(nearest, known, marks, ks, settings)
    rows = []
    for column, k in enumerate(ks):
        precision = hits[:, :k].mean()
        p = p_values(np.array([precision]), null[:, column])[0] if len(null) else None
        chance = partners.mean() / (len(nearest) - 1)
        highest = np.minimum(partners, k).mean() / k
        limits = interval(drawn[:, column])
        rows.append((source, k, precision, len(genes), chance, highest, *limits, p))
    return pl.DataFrame(rows, PRECISION, orient="row").with_columns(
        pl.col(pl.Float64).fill_nan(None)
    )


def _find_hits(
    nearest: Neighbors, genes: Int[np.ndarray, " a"], marks: UInt8[np.ndarray, "g eighth_of_g"]
) -> Bool[np.ndarray, "a k"]:
    """Return whether each neighbor of some genes is a known partner."""
    neighbors = nearest[genes]
    both = np.stack([genes.repeat(neighbors.shape[1]), neighbors.ravel()], axis=1)
    return is_marked(marks, both).reshape(neighbors.shape)


def _resample(
    nearest: Neighbors,
    genes: Int[np.ndarray, " a"],
    hits: Bool[np.ndarray, "a k"],
    ks: Sequence[int],
    settings: BenchmarkSettings,
) -> Float64[np.ndarray, "resamples ks"]:
    """Return the precision in each bootstrap resample of the genes.

    The bootstrap is that of recall, with a gene and its neighbor as a pair. A bootstrap of the
    annotated genes alone would take the members of a complex, which are neighbors of each other,
    for independent: its 95 % intervals had the true value in 54 to 81 % of simulated screens.
    """
    max_k = nearest.shape[1]
    both = np.stack([genes.repeat(max_k), nearest[genes].ravel()], axis=1)
    counted = np.tile(np.arange(max_k)[:, None] < np.array(ks), (len(genes), 1))
    found = hits.reshape(-1, 1) & counted
    return resampled_recalls(found, both, settings.resamples, settings.seed, counted)


def _shuffle(
    nearest: Neighbors,
    known: Pairs,
    marks: UInt8[np.ndarray, "g eighth_of_g"],
    ks: Sequence[int],
    settings: BenchmarkSettings,
) -> Float64[np.ndarray, "shuffles ks"]:
    """Return the precision under each permutation of the names, the same ones as for recall."""
    count, max_k = nearest.shape
    strata = degree_strata(known, count) if settings.within == "degree" else None
    annotated = len(np.unique(known))
    null = np.empty((settings.shuffle, len(ks)))
    for shuffle in range(settings.shuffle):
        rng = np.random.default_rng([settings.seed, shuffle])
        # The gene whose name each row has: the permutation is of names, and is inverted.
        names = np.argsort(shuffle_rows(count, rng, strata))
        both = np.stack([names.repeat(max_k), names[nearest].ravel()], axis=1)
        of_ranks = np.cumsum(is_marked(marks, both).reshape(count, max_k).sum(axis=0))
        null[shuffle] = [of_ranks[k - 1] / (k * annotated) for k in ks]
    return null
