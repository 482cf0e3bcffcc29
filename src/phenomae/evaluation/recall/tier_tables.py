"""Recall by the mean cosine over pairs of wells, for each tier: tiers.csv of `benchmark`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
import polars as pl
from jaxtyping import Bool, Float64, Int

from phenomae.evaluation.recall.bootstrap import interval, resampled_recalls
from phenomae.evaluation.recall.cosines import Pairs
from phenomae.evaluation.recall.mean_cosines import MeanCosines, TierPairs
from phenomae.evaluation.recall.permutation import degree_strata, shuffled_recalls
from phenomae.evaluation.recall.recall import Percentiles, empty_tail
from phenomae.evaluation.recall.strata_tails import Marks, find_in_strata, mark_strata
from phenomae.evaluation.recall.tables import RECALL, read_results_table, recall_table
from phenomae.evaluation.recall.tiers import TierName
from phenomae.evaluation.settings import BenchmarkSettings
from phenomae.maps.p_values import p_values
from phenomae.print_table import show
from phenomae.progress import info

TIER_COLUMNS: dict[str, pl.DataType] = {
    "tier": pl.String(),
    **RECALL,
    "left_out": pl.Int64(),
    "all_pairs": pl.Int64(),
    "all_left_out": pl.Int64(),
    "max_recall": pl.Float64(),
}
_FEW = 0.5  # a warning is logged if max_recall is lower
Nulls: TypeAlias = dict[str, Float64[np.ndarray, "shuffles t"]]


@dataclass(frozen=True)
class _Tier:
    pairs: TierPairs
    found: dict[str, Bool[np.ndarray, "pairs t"]]
    strata: dict[str, Int[np.ndarray, " pairs"]]
    """Stratum of the known pairs of each source; the number of strata for those left out."""
    null: Nulls

    def counted(self, source: str) -> Bool[np.ndarray, " pairs"]:
        """Return which known pairs of a source are not left out."""
        return self.strata[source] < len(self.pairs.strata)


def check_tiers(
    tiers: Mapping[TierName, TierPairs], pairs: dict[str, Pairs], percentiles: list[Percentiles]
) -> None:
    """Raise ValueError if a tier leaves no known pair, by the numbers of wells alone."""
    known = np.concatenate(list(pairs.values()))
    for tier, of_tier in tiers.items():
        left = of_tier.groups.count_left(known) > 0
        if not left.any():
            raise ValueError(
                f"tier {tier} leaves no known pair: no two genes of a known pair have wells in it; "
                f"leave {tier} out of tiers"
            )
        strata = of_tier.strata
        if (of_tier.find(known) < len(strata)).any():
            continue
        size = int(strata.sizes[strata.locate(of_tier.groups, known[left])].max())
        raise ValueError(
            f"tier {tier} has at most {size} pairs of genes with as many pairs of wells left out "
            f"as a known pair, too few: {100 * (empty_tail(size, percentiles) or 0):.3g} % is less "
            f"than one pair; leave {tier} out of tiers"
        )


def measure_tiers(
    values: MeanCosines,
    pairs: dict[str, Pairs],
    percentiles: list[Percentiles],
    settings: BenchmarkSettings,
) -> pl.DataFrame:
    """Return tiers.csv: recall per tier, source and percentile pair.

    `pairs` are the known pairs of each source. Pairs of genes without a pair of wells in the tier,
    or in a stratum that is too small for its tails, are left out and counted. `check_tiers` says
    whether any are left.
    """
    found = find_in_strata(values, np.concatenate(list(pairs.values())))
    marks = mark_strata(values, found) if settings.shuffle else {}
    tiers = {}
    for tier, of_tier in values.tiers.items():
        null = _shuffle(of_tier, marks[tier], pairs, settings) if settings.shuffle else {}
        ends = np.cumsum([len(known) for known in pairs.values()])[:-1]
        of_sources = dict(zip(pairs, np.split(found[tier].found, ends), strict=True))
        strata = {source: of_tier.find(known) for source, known in pairs.items()}
        tiers[tier] = _Tier(of_tier, of_sources, strata, null)
        _report(tier, tiers[tier])
    tables = []
    for source, known in pairs.items():
        resampled = _resample(list(tiers.values()), source, known, settings)
        for (tier, of_tier), drawn in zip(tiers.items(), resampled, strict=True):
            if of_tier.counted(source).any():
                tables.append(_table(tier, of_tier, source, known, percentiles, drawn))
            else:
                info(f"{source} is skipped in tier {tier}, which leaves none of its known pairs")
    order = pl.col("tier").replace_strict({tier: place for place, tier in enumerate(tiers)})
    return pl.concat(tables).sort(order, maintain_order=True)


def print_tiers(results: Path) -> None:
    """Print tiers.csv; raises ValueError if it is missing or damaged."""
    table = read_results_table(results / "tiers.csv", TIER_COLUMNS)
    print()
    # Columns without any value, such as p without permutations, would make the table too wide.
    show(table.select(column for column in table if column.null_count() < len(column)))


def _report(tier: TierName, of_tier: _Tier) -> None:
    """Log how many pairs a tier leaves out, and where it cannot recall most known pairs."""
    strata = of_tier.pairs.strata
    if left_out := strata.all_pairs - strata.pairs:
        info(f"tier {tier} leaves out {left_out} of {strata.all_pairs} pairs of genes")
    for source, codes in of_tier.strata.items():
        counted = of_tier.counted(source)
        reach = strata.expect(codes[counted])[1]
        if counted.any() and (reach < _FEW).any():
            info(
                f"tier {tier} can recall at most {reach.min():.2g} of the known pairs of {source}: "
                "the tails have room for fewer of the pairs with as many pairs of wells"
            )


def _shuffle(
    of_tier: TierPairs, marks: list[Marks], pairs: dict[str, Pairs], settings: BenchmarkSettings
) -> Nulls:
    """Return the null distribution of each source: its pairs under permuted names of genes.

    It is of recall minus chance, because permuted pairs are in other strata, with another chance.
    """
    *tails, counted = marks
    nulls: Nulls = {}
    for source, known in pairs.items():
        degrees = degree_strata(known, len(counted)) if settings.within == "degree" else None
        drawn = [
            shuffled_recalls(
                bits,
                known,
                settings.shuffle,
                settings.seed,
                degrees,
                counted,
                partial(_chance, of_tier, which),
            )
            for which, bits in enumerate(tails)
        ]
        nulls[source] = np.column_stack(drawn)
    return nulls


def _chance(of_tier: TierPairs, which: int, pairs: Pairs) -> float:
    """Return the expected recall of pairs, none of which is left out, at one percentile pair."""
    return float(of_tier.strata.expect(of_tier.find(pairs))[0][which])


def _resample(
    tiers: Sequence[_Tier], source: str, known: Pairs, settings: BenchmarkSettings
) -> list[Float64[np.ndarray, "resamples t"]]:
    """Return the recalls of a source in each resample, which all tiers share."""
    found = [tier.found[source] for tier in tiers]
    counted = [
        np.repeat(tier.counted(source)[:, None], marks.shape[1], axis=1)
        for tier, marks in zip(tiers, found, strict=True)
    ]
    resampled = resampled_recalls(
        np.column_stack(found), known, settings.resamples, settings.seed, np.column_stack(counted)
    )
    return np.split(resampled, len(tiers), axis=1)


def _table(
    tier: TierName,
    of_tier: _Tier,
    source: str,
    known: Pairs,
    percentiles: list[Percentiles],
    resampled: Float64[np.ndarray, "resamples t"],
) -> pl.DataFrame:
    """Return the rows of one tier and source."""
    counted, strata = of_tier.counted(source), of_tier.pairs.strata
    recalls = of_tier.found[source][counted].mean(axis=0)
    limits = [interval(column) for column in resampled.T] if len(resampled) else []
    chance, max_recalls = strata.expect(of_tier.strata[source][counted])
    null = of_tier.null.get(source)
    p = []
    if null is not None:
        excess = (recalls - chance)[:, None]
        p = [p_values(*one)[0] for one in zip(excess, null.T, strict=True)]
    table = recall_table(source, percentiles, recalls, known[counted], limits, p)
    numbers = {
        "left_out": int((~counted).sum()),
        "all_pairs": strata.all_pairs,
        "all_left_out": strata.all_pairs - strata.pairs,
    }
    return table.with_columns(
        pl.lit(tier).alias("tier"),
        pl.Series("chance", chance.round(12)),
        *(pl.lit(number).cast(pl.Int64).alias(name) for name, number in numbers.items()),
        pl.Series("max_recall", max_recalls),
    ).select(list(TIER_COLUMNS))
