"""Recall by the mean cosine over pairs of wells, for each tier: tiers.csv of `benchmark`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Bool, Float64

from phenomae.evaluation.recall.bootstrap import interval, resampled_recalls
from phenomae.evaluation.recall.cosines import Pairs, mark_strips
from phenomae.evaluation.recall.one_pass import PairValues, TailPairs, find_in_tails
from phenomae.evaluation.recall.permutation import degree_strata, shuffled_recalls
from phenomae.evaluation.recall.recall import Percentiles, empty_tail
from phenomae.evaluation.recall.tables import RECALL, read_results_table, recall_table
from phenomae.evaluation.recall.tiers import TierName
from phenomae.evaluation.recall.tiles import NO_VALUE
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
}
Nulls = dict[str, Float64[np.ndarray, "shuffles t"]]


@dataclass(frozen=True)
class _Tier:
    found: dict[str, Bool[np.ndarray, "pairs t"]]
    counted: dict[str, Bool[np.ndarray, " pairs"]]
    null: Nulls
    all_pairs: int
    all_left_out: int


def measure_tiers(
    values_of: Callable[[TierName], PairValues],
    pairs: dict[str, Pairs],
    percentiles: list[Percentiles],
    settings: BenchmarkSettings,
) -> pl.DataFrame:
    """Return tiers.csv: recall per tier, source and percentile pair.

    `values_of` returns the mean cosine of every two genes in a tier; `pairs` are the known pairs of
    each source. Pairs of genes without a pair of wells in the tier are left out and counted. Raises
    ValueError if a tier leaves no known pair, or a tail without a pair.
    """
    tiers = {}
    for tier in settings.tiers:
        # One after the other, because the sums of a tier's groups take the most memory.
        tiers[tier] = _measure_tier(values_of(tier), tier, pairs, percentiles, settings)
    tables = []
    for source, known in pairs.items():
        resampled = _resample(list(tiers.values()), source, known, settings)
        for (tier, of_tier), drawn in zip(tiers.items(), resampled, strict=True):
            if of_tier.counted[source].any():
                table = _table(tier, of_tier, source, known, percentiles, drawn)
                tables.append(table)
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


def _measure_tier(
    values: PairValues,
    tier: TierName,
    pairs: dict[str, Pairs],
    percentiles: list[Percentiles],
    settings: BenchmarkSettings,
) -> _Tier:
    tails = find_in_tails(values, percentiles, np.concatenate(list(pairs.values())))
    every = len(values) * (len(values) - 1) // 2
    if not tails.counted.any():
        raise ValueError(
            f"tier {tier} leaves no known pair: no two genes of a known pair have wells in it; "
            f"leave {tier} out of tiers"
        )
    if (share := empty_tail(tails.count, percentiles)) is not None:
        raise ValueError(
            f"tier {tier} leaves {tails.count} of {every} pairs of genes, too few: "
            f"{100 * share:.3g} % is less than one pair; leave {tier} out of tiers"
        )
    if tails.count < every:
        info(f"tier {tier} leaves out {every - tails.count} of {every} pairs of genes")
    ends = np.cumsum([len(known) for known in pairs.values()])[:-1]
    found = dict(zip(pairs, np.split(tails.found, ends), strict=True))
    counted = dict(zip(pairs, np.split(tails.counted, ends), strict=True))
    null = _shuffle(values, tails, pairs, settings)
    return _Tier(found, counted, null, every, every - tails.count)


def _shuffle(
    values: PairValues, tails: TailPairs, pairs: dict[str, Pairs], settings: BenchmarkSettings
) -> Nulls:
    """Return the null distribution of each source: its pairs under permuted names of genes."""
    if not settings.shuffle:
        return {}
    limits = list(zip(tails.tails.below.tolist(), tails.tails.above.tolist(), strict=True))
    # The last limits mark the pairs that have a value.
    *marks, valued = mark_strips(len(values), values.cut, [*limits, (NO_VALUE, np.inf)])
    nulls: Nulls = {}
    for source, known in pairs.items():
        strata = degree_strata(known, len(values)) if settings.within == "degree" else None
        drawn = [
            shuffled_recalls(of_tails, known, settings.shuffle, settings.seed, strata, valued)
            for of_tails in marks
        ]
        nulls[source] = np.column_stack(drawn)
    return nulls


def _resample(
    tiers: Sequence[_Tier], source: str, known: Pairs, settings: BenchmarkSettings
) -> list[Float64[np.ndarray, "resamples t"]]:
    """Return the recalls of a source in each resample, which all tiers share."""
    found = [tier.found[source] for tier in tiers]
    counted = [
        np.repeat(tier.counted[source][:, None], marks.shape[1], axis=1)
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
    counted = of_tier.counted[source]
    recalls = of_tier.found[source][counted].mean(axis=0)
    limits = [interval(column) for column in resampled.T] if len(resampled) else []
    null = of_tier.null.get(source)
    p = []
    if null is not None:
        p = [p_values(*one)[0] for one in zip(recalls[:, None], null.T, strict=True)]
    table = recall_table(source, percentiles, recalls, known[counted], limits, p)
    return table.select(
        pl.lit(tier).alias("tier"),
        pl.all(),
        pl.lit(int((~counted).sum())).cast(pl.Int64).alias("left_out"),
        pl.lit(of_tier.all_pairs).cast(pl.Int64).alias("all_pairs"),
        pl.lit(of_tier.all_left_out).cast(pl.Int64).alias("all_left_out"),
    )
