"""The known pairs of a map one by one, found or missed, and its highest pairs that nobody listed.

A pair is found exactly if `benchmark` counts it as recalled at the same percentile pair.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from jaxtyping import Bool, Float64, Int

from phenomae.evaluation.annotations import ALL_SOURCES, Annotation, pairs_on_map
from phenomae.evaluation.recall.pair_ranks import PairRanks, rank_pairs
from phenomae.evaluation.recall.recall import Percentiles, tail_ranks

SIDES = ("opposite", "similar")
"""The tails that a known pair is found in: the lowest and the highest cosines."""
PERCENTILES: Percentiles = (0.05, 0.95)
"""The default of `benchmark`."""


@dataclass(frozen=True)
class MapPairs:
    """The known pairs of a map, and the highest pairs that are in no source."""

    known: pl.DataFrame
    """One row per source and pair: source, entity1, entity2, cosine, percentile (the share of all
    pairs of the map with a smaller cosine), found, and side: similar or opposite if it is found,
    else null. Sources are in their order, pairs in that of the map."""
    new: pl.DataFrame
    """The pairs with the highest cosines that no source has, the highest first: entity1, entity2,
    cosine."""
    percentiles: Percentiles

    def counts(self) -> pl.DataFrame:
        """Return one row per source: source, pairs, similar, opposite, missed, recall."""
        return _count(self.known)

    def count_all(self) -> pl.DataFrame:
        """Return a row like those of `counts` for all sources together, each pair once."""
        return _count(self.of_all_sources.with_columns(source=pl.lit(ALL_SOURCES)))

    @cached_property
    def of_all_sources(self) -> pl.DataFrame:
        """The known pairs of all sources, each once, the highest cosine first.

        Columns: entity1, entity2, cosine, percentile, found, side, sources (joined by ` | `).
        """
        # Equal pairs have equal bits, and the sort keeps the order of the map for equal cosines.
        top = self.known.sort("cosine", descending=True, maintain_order=True)
        return top.group_by("entity1", "entity2", maintain_order=True).agg(
            pl.col("cosine", "percentile", "found", "side").first(),
            pl.col("source").sort().str.join(" | ").alias("sources"),
        )

    def highest(self, count: int) -> pl.DataFrame:
        """Return the first rows of `of_all_sources`."""
        return self.of_all_sources.head(count)


def _count(known: pl.DataFrame) -> pl.DataFrame:
    similar, opposite = (pl.col("side").eq_missing(side).sum() for side in SIDES[::-1])
    return known.group_by("source", maintain_order=True).agg(
        pl.len().alias("pairs"),
        similar.alias("similar"),
        opposite.alias("opposite"),
        (~pl.col("found")).sum().alias("missed"),
        pl.col("found").mean().alias("recall"),
    )


def compare_pairs(
    names: list[str],
    unit: Float64[np.ndarray, "g d"],
    annotations: Sequence[Annotation],
    *,
    percentiles: Percentiles = PERCENTILES,
    new: int = 100,
    controls: Bool[np.ndarray, " g"] | None = None,
) -> MapPairs:
    """Return the known pairs of a map, found or missed, and its `new` highest other pairs.

    Parameters
    ----------
    names
        Names of the rows of the map.
    unit
        Their consensus profiles, of length 1 (`unit_vectors.unit_map`).
    annotations
        Sources of known pairs; with none, all pairs are new.
    percentiles
        A pair is found if its cosine is in the lowest or highest share of all pairs, as in
        `benchmark` (Celik et al. 2024).
    new
        Number of pairs that are in no source, highest cosines first.
    controls
        Rows that are controls, which are in no new pair.
    """
    pairs = {annotation.name: pairs_on_map(annotation, names) for annotation in annotations}
    every = np.concatenate([np.empty((0, 2), np.int64), *pairs.values()])
    codes, places = np.unique(every[:, 0] * len(names) + every[:, 1], return_inverse=True)
    different = np.column_stack(np.divmod(codes, len(names)))
    ranks = rank_pairs(unit, different, new, None if controls is None else ~controls)
    table = _describe(ranks, len(names), percentiles)[places]
    sources = pl.Series(
        np.repeat(list(pairs), [len(its) for its in pairs.values()]), dtype=pl.String
    )
    known = pl.DataFrame({"source": sources, **_name(names, every)})
    found = pl.DataFrame({**_name(names, ranks.others), "cosine": ranks.other_cosines})
    return MapPairs(pl.concat([known, table], how="horizontal"), found, percentiles)


def _name(names: list[str], pairs: Int[np.ndarray, "pairs 2"]) -> dict[str, pl.Series]:
    named = pl.Series(names, dtype=pl.String)
    return {f"entity{1 + side}": named[pairs[:, side]] for side in range(2)}


def _describe(ranks: PairRanks, rows: int, percentiles: Percentiles) -> pl.DataFrame:
    """Return cosine, percentile, found and side of each pair."""
    total = rows * (rows - 1) // 2
    # The ranks of the thresholds of `recall.Tails`, so that found is exactly what is recalled.
    low, high = tail_ranks(total, [percentiles]).tolist()
    opposite, similar = ranks.at_most <= low, ranks.smaller >= high + 1
    side = pl.when(pl.Series(similar)).then(pl.lit(SIDES[1]))
    return pl.DataFrame(
        {"cosine": ranks.cosines, "percentile": ranks.smaller / max(total, 1)}
    ).with_columns(
        found=pl.Series(similar | opposite),
        side=side.when(pl.Series(opposite)).then(pl.lit(SIDES[0])),
    )
