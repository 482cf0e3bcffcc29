"""The known pairs of one or all sources, and the highest others, as tables of a page."""

import polars as pl

from phenomae.evaluation.annotations import ALL_SOURCES
from phenomae.evaluation.known_pairs import MapPairs

ALL, FOUND, MISSED = "all", "found", "missed"
ENTITIES = ("entity1", "entity2")
TITLES = {"entity1": "name", "entity2": "other name", "percentile": "share of pairs below"}


def known_of(pairs: MapPairs, source: str, *, found: str = ALL, row: str = "") -> pl.DataFrame:
    """Return the known pairs of a source or of `ALL_SOURCES`, the highest cosine first.

    Columns: entity1, entity2, cosine, percentile (share of all pairs of the map with a lower
    cosine), result: similar or opposite for pairs that were found, else missed; and for all sources
    `sources`, those that have the pair. `found` leaves out the others, and with a `row` there are
    only pairs of it, and it is entity1.
    """
    own = _of_source(pairs, source)
    if found in (FOUND, MISSED):
        own = own.filter(pl.col("found") == (found == FOUND))
    table = _of_row(own, row).sort("cosine", descending=True, maintain_order=True)
    sources = ["sources"] if source == ALL_SOURCES else []
    result = pl.col("side").fill_null(MISSED).alias("result")
    return table.select(*ENTITIES, "cosine", "percentile", result, *sources)


def new_of(pairs: MapPairs, source: str, *, row: str = "") -> pl.DataFrame:
    """Return the highest pairs that no source has; with a `row` those of them that are of it.

    Columns: entity1, entity2, cosine, and above: the share of the known pairs of the source that
    have a lower cosine, null if the source has none.
    """
    table = _of_row(pairs.new, row)
    known = _of_source(pairs, source)["cosine"].sort()
    lower = known.search_sorted(table["cosine"], side="left") if len(known) else None
    above = None if lower is None else lower / len(known)
    return table.with_columns(above=pl.lit(None, pl.Float64) if above is None else above)


def _of_source(pairs: MapPairs, source: str) -> pl.DataFrame:
    if source == ALL_SOURCES:
        return pairs.of_all_sources
    return pairs.known.filter(pl.col("source") == source)


def _of_row(table: pl.DataFrame, row: str) -> pl.DataFrame:
    if not row:
        return table
    first, second = (pl.col(entity) for entity in ENTITIES)
    own = table.filter((first == row) | (second == row))
    other = pl.when(first == row).then(second).otherwise(first)
    return own.with_columns(entity1=pl.lit(row), entity2=other)
