"""Mean average precision of groups of rows, as the package copairs counts it.

Each row of a group orders its positives (others of the group) and its negatives by cosine (Kalinin
et al. 2025, Nature Communications 16, 5181).
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float, Int
from scipy.special import gammaln
from scipy.stats import false_discovery_control

from phenomae.evaluation.questions.average_precision import chance_precision

Codes = Int[np.ndarray, " n"]
_PAIRS = 4_000_000  # pairs that copairs holds at once
_PERFECT = 1 - 1e-6
_SCORES = {"code": pl.Int64, "positives": pl.Int64, "pairs": pl.Int64, "precision": pl.Float64}
_MEANS = {
    "code": pl.Int64,
    "rows": pl.Int64,
    "average_precision": pl.Float64,
    "chance": pl.Float64,
    "p": pl.Float64,
    "p_adjusted": pl.Float64,
}


@dataclass(frozen=True)
class Question:
    """Which rows are positives of each other, and which are negatives."""

    groups: Codes
    """Rows of one code are positives of each other; rows of -1 are controls."""
    sources: Codes | None = None
    """Where given, rows of one code here are no positives of each other."""
    plates: Codes | None = None
    """Where given, negatives are taken of a row's own code here alone."""
    against: str = "controls"
    """What negatives are: controls, or the rows of all other groups."""


def load_copairs() -> Any:
    """Return the module copairs.map; raises ValueError where the package is not installed."""
    try:
        from copairs import map as copairs_map
    except ImportError:
        raise ValueError(
            "average precision needs copairs: pip install 'phenomae[copairs]'"
        ) from None
    return copairs_map


def mean_precisions(
    features: Float[np.ndarray, "n d"], question: Question, draws: int, seed: int
) -> pl.DataFrame:
    """Return a row a group that has positives and negatives, in the order of the codes.

    Columns: code, rows (that have both), average_precision (the mean over them), chance (what a
    random order gives in the mean), p, p_adjusted (for the number of groups, Benjamini & Hochberg
    1995).
    """
    parts = [_precisions(features, question, part) for part in _parts(question)]
    found = pl.concat([pl.DataFrame(schema=_SCORES), *parts])
    found = found.filter((pl.col("positives") > 0) & (pl.col("pairs") > pl.col("positives")))
    if found.is_empty():
        return pl.DataFrame(schema=_MEANS)
    table = (
        _with_chance(found)
        .group_by("code")
        .agg(
            rows=pl.len().cast(pl.Int64),
            average_precision=pl.col("precision").mean(),
            chance=pl.col("chance").mean(),
            perfect_by_luck=pl.col("log_luck").min().exp(),
        )
    )
    table = table.join(_p_values(found, draws, seed), on="code").sort("code")
    # copairs counts null values above the observed one, and none is above 1: few controls, among
    # which random orders are often perfect, would give the smallest p-value there is. All of a
    # group's orders are perfect at most as often as any one of them.
    perfect = pl.col("average_precision") >= _PERFECT
    table = table.with_columns(
        p=pl.when(perfect).then(pl.max_horizontal("p", "perfect_by_luck")).otherwise("p")
    )
    adjusted = pl.Series("p_adjusted", false_discovery_control(table["p"].to_numpy()))
    return table.with_columns(adjusted).select(list(_MEANS))


def _parts(question: Question) -> Iterator[Codes]:
    """Yield the groups a part at a time, so that the pairs of a part fit in memory."""
    sizes = np.bincount(question.groups[question.groups >= 0])
    others = len(question.groups) if question.against == "groups" else (question.groups < 0).sum()
    part = np.cumsum(sizes * (others + sizes)) // _PAIRS  # each with others, and with its group
    for number in np.unique(part):
        yield np.flatnonzero((part == number) & (sizes > 0))


def _precisions(
    features: Float[np.ndarray, "n d"], question: Question, part: Codes
) -> pl.DataFrame:
    """Return code, positives, pairs and average precision of every row of some groups."""
    from copairs.matching import UnpairedException

    asked, control = np.isin(question.groups, part), question.groups < 0
    everything = question.against == "groups"
    rows = np.flatnonzero(~control if everything else asked | control)
    # Rows that share a side are no negatives: those that are not asked, or all but controls.
    alone = asked if everything else control
    columns = {
        "code": question.groups[rows],
        "side": np.where(alone[rows], np.arange(len(rows)), -1),
        "source": None if question.sources is None else question.sources[rows],
        "plate": None if question.plates is None else question.plates[rows],
    }
    try:
        found = load_copairs().average_precision(
            pl.DataFrame(columns).to_pandas(),
            features[rows].astype(np.float64),
            pos_sameby=["code"] if everything else ["code", "side"],
            pos_diffby=[] if question.sources is None else ["source"],
            neg_sameby=[] if question.plates is None else ["plate"],
            neg_diffby=["code", "side"],
            progress_bar=False,
        )
    except UnpairedException:
        return pl.DataFrame(schema=_SCORES)
    scores = {
        "code": found["code"].to_numpy(),
        "positives": found["n_pos_pairs"].to_numpy(),
        "pairs": found["n_total_pairs"].to_numpy(),
        "precision": found["average_precision"].to_numpy(),
    }
    return pl.DataFrame(scores, schema=_SCORES).filter(asked[rows])


def _with_chance(found: pl.DataFrame) -> pl.DataFrame:
    """Add what a random order gives, and the logarithm of the chance that it is perfect."""
    kinds = found.select("positives", "pairs").unique()
    right, pairs = kinds["positives"].to_numpy(), kinds["pairs"].to_numpy()
    chance = [chance_precision(a, b) for a, b in zip(right, pairs - right, strict=True)]
    log_luck = gammaln(right + 1) + gammaln(pairs - right + 1) - gammaln(pairs + 1)
    kinds = kinds.with_columns(chance=pl.Series(chance), log_luck=pl.Series(log_luck))
    return found.join(kinds, on=["positives", "pairs"])


def _p_values(found: pl.DataFrame, draws: int, seed: int) -> pl.DataFrame:
    """Return the p-value of every code, by copairs."""
    scores = found.rename(
        {"positives": "n_pos_pairs", "pairs": "n_total_pairs", "precision": "average_precision"}
    ).with_columns(normalized_average_precision=pl.lit(0.0))
    # copairs keeps what it drew for all later calls, whatever order these come in; in a folder of
    # its own a call depends on the seed alone.
    with tempfile.TemporaryDirectory() as folder:
        means = load_copairs().mean_average_precision(
            scores.to_pandas(),
            ["code"],
            null_size=draws,
            threshold=0.05,
            seed=seed,
            progress_bar=False,
            cache_dir=folder,
        )
    return pl.DataFrame({"code": means["code"].to_numpy(), "p": means["p_value"].to_numpy()})
