"""The tables of `ask enrichment`: pairs.csv, one row per set of known pairs, and genes.csv."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Bool, Float64

from phenomae.evaluation.questions.enriched_pairs import (
    Similar,
    class_shares,
    odds_intervals,
    p_of_counts,
    shuffled_counts,
)
from phenomae.evaluation.questions.known_pairs import Source, pairs_within
from phenomae.evaluation.questions.odds import RandomTables, Tables
from phenomae.evaluation.recall.bootstrap import resampled_recalls
from phenomae.evaluation.recall.cosines import Pairs

COUNTS = ("known_top", "known_rest", "other_top", "other_rest")


@dataclass(frozen=True)
class KnownSet:
    """The known pairs of a row of pairs.csv: those of a source, or of one of its classes."""

    source: str
    of_class: str | None
    pairs: Pairs
    genes: int

    def shares(
        self, found: Bool[np.ndarray, "pairs t"], resamples: int, seed: int
    ) -> Float64[np.ndarray, "resamples t"]:
        """Return the share of the pairs that `found` marks in each resample of the genes."""
        if self.of_class is None:
            return resampled_recalls(found, self.pairs, resamples, seed)
        return class_shares(found, self.genes, resamples, seed)


def find_sets(sources: Sequence[Source], min_genes: int) -> list[KnownSet]:
    """Return the sets with a row of their own: each source, then its classes of enough genes."""
    sets = []
    for source in sources:
        sets.append(KnownSet(source.name, None, source.pairs, len(np.unique(source.pairs))))
        sets += [
            KnownSet(source.name, name, pairs_within(rows), len(rows))
            for name, rows in source.classes.items()
            if len(rows) >= min_genes
        ]
    return sets


def pairs_table(
    similar: Similar,
    sets: Sequence[KnownSet],
    tops: Sequence[float],
    *,
    shuffles: int,
    resamples: int,
    seed: int,
) -> pl.DataFrame:
    """Return pairs.csv: the odds ratio of each set, for each fraction of all pairs."""
    found = [similar.among(one.pairs) for one in sets]
    limits = [
        odds_intervals(similar, marks, one.shares(marks, resamples, seed))
        for one, marks in zip(sets, found, strict=True)
    ]
    null = shuffled_counts(similar, [one.pairs for one in sets], shuffles, seed)
    known = np.array([len(one.pairs) for one in sets])
    parts = []
    for which, top in enumerate(tops):
        known_top = np.array([int(marks[:, which].sum()) for marks in found])
        tables = similar.tables(known_top, known, which)
        p = p_of_counts(known_top, null[:, which])
        columns = {
            "source": [one.source for one in sets],
            "class": pl.Series([one.of_class for one in sets], dtype=pl.String),
            "top": np.full(len(sets), top),
            "genes": [one.genes for one in sets],
            **_counts(tables),
            "odds_ratio": tables.odds_ratios(),
            "ci_low": [of_set[which][0] for of_set in limits],
            "ci_high": [of_set[which][1] for of_set in limits],
            "fisher_p": tables.fisher_p(),
            "p": p,
            "fdr": _fdr_by_family(p, sets),
        }
        parts.append(pl.DataFrame(columns))
    return pl.concat(parts).with_columns(pl.col(pl.Float64).fill_nan(None))


def genes_table(source: str, top: float, tables: Tables, names: Sequence[str]) -> pl.DataFrame:
    """Return the rows of genes.csv for a source and a fraction; `names` are those of its genes."""
    low, high = tables.intervals()
    p = tables.fisher_p()
    columns = {
        "source": [source] * len(names),
        "gene": names,
        "top": np.full(len(names), top),
        **_counts(tables),
        "odds_ratio": np.exp(tables.corrected_log_odds()),
        "ci_low": low,
        "ci_high": high,
        "p": p,
        "fdr": _adjust(p),
        "chance": np.exp(random_tables(tables).log_odds()),
    }
    return pl.DataFrame(columns, nan_to_null=True)


def random_tables(tables: Tables) -> RandomTables:
    """Return the random tables with the margins of some tables."""
    known_top, known_rest, other_top, other_rest = tables.cells
    known = known_top + known_rest
    return RandomTables(known, known_top + other_top, known + other_top + other_rest)


def _counts(tables: Tables) -> dict[str, np.ndarray]:
    counts = [cell.astype(np.int64) for cell in tables.cells]
    return dict(zip(COUNTS, counts, strict=True))


def _fdr_by_family(
    p: Float64[np.ndarray, " k"], sets: Sequence[KnownSet]
) -> Float64[np.ndarray, " k"]:
    """Return the FDR over all sources, and over the classes of each source; NaN where p is NaN."""
    families = np.array(
        ["" if one.of_class is None else f"classes of {one.source}" for one in sets]
    )
    adjusted = np.full(len(p), np.nan)
    for family in np.unique(families):
        chosen = (families == family) & ~np.isnan(p)
        if chosen.any():
            adjusted[chosen] = _adjust(p[chosen])
    return adjusted


def _adjust(p: Float64[np.ndarray, " k"]) -> Float64[np.ndarray, " k"]:
    from scipy.stats import false_discovery_control  # imported here: .6 s would delay --help

    return false_discovery_control(p)
