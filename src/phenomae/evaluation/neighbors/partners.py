"""The known partners of a row of a map, near or not: their cosines, and ranks among all rows."""

import numpy as np
import polars as pl
from jaxtyping import Int

from phenomae.evaluation.neighbors.finder import SIDES, NeighborFinder
from phenomae.maps.cosine_order import order_by_cosine


def list_partners(finder: NeighborFinder, row: int, listed: pl.DataFrame) -> pl.DataFrame:
    """Return the known partners of a row of the map, the nearest first.

    Parameters
    ----------
    finder
        The map with its known pairs.
    row
        Row of the map.
    listed
        The neighbors of this row, with the columns side, neighbor, p and fdr
        (`NeighborFinder.list_neighbors`).

    Returns
    -------
    A table with the columns partner, rank (among all other rows of the map; the nearest is 1),
    cosine, p and fdr (of `listed`; null for partners that are not listed there), listed (`nearest`,
    `farthest`, or null) and known (sources that have the pair). Partners with equal cosines are in
    the order of the map.
    """
    partners = finder.partners_of(row)
    cosines = finder.unit @ finder.unit[row]
    ranks = _rank(order_by_cosine(cosines), row)
    partners = partners[np.argsort(ranks[partners])]
    named = np.array(finder.names, dtype=object)
    table = pl.DataFrame(
        {
            "partner": pl.Series(named[partners], dtype=pl.String),
            "rank": ranks[partners].astype(np.int32),
            "cosine": cosines[partners].clip(-1, 1),
            "known": finder.name_sources(np.full(len(partners), row), partners),
        }
    )
    # A name of a small map is listed on both sides: its p-value is that of the nearest.
    sides = listed.select("neighbor", "p", "fdr", listed="side").sort(
        pl.col("listed") != SIDES[0], maintain_order=True
    )
    both = table.join(
        sides.unique("neighbor", keep="first", maintain_order=True),
        left_on="partner",
        right_on="neighbor",
        how="left",
        maintain_order="left",
    )
    return both.select("partner", "rank", "cosine", "p", "fdr", "listed", "known")


def _rank(order: Int[np.ndarray, " g"], row: int) -> Int[np.ndarray, " g"]:
    """Return the rank of each row, from 1; 0 for the row that has no rank."""
    ranks = np.zeros(len(order), dtype=np.int64)
    ranks[order[order != row]] = np.arange(1, len(order))
    return ranks
