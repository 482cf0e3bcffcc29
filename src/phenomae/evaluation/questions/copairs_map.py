"""Mean average precision (mAP) of groups of profiles, as the package copairs computes it.

Each profile of a group ranks its positives (other members of the group) and its negatives by cosine
(Kalinin et al. 2025, Nature Communications 16, 5181). This module adds the expected value of a
random ranking, p-values of a permutation test, and those of copairs, whose null it draws.
"""

import tempfile
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float

from phenomae.evaluation.false_discovery import false_discovery_rates
from phenomae.evaluation.questions.average_precision import chance_precision
from phenomae.evaluation.questions.exchange_test import p_of_groups
from phenomae.evaluation.questions.pairing import Pairing
from phenomae.evaluation.questions.profile_precisions import precisions_of_profiles
from phenomae.maps.unit_vectors import unit_rows

_MEANS = {
    "code": pl.Int64,
    "rows": pl.Int64,
    "average_precision": pl.Float64,
    "chance": pl.Float64,
    "p": pl.Float64,
    "p_adjusted": pl.Float64,
    "copairs_p": pl.Float64,
}


def load_copairs() -> Any:
    """Return the module copairs.compute; raises ValueError if the package is not installed."""
    try:
        # Not copairs.map, whose imports (statsmodels) take half a second and 40 MB.
        from copairs import compute
    except ImportError:
        raise ValueError(
            "average precision needs copairs: pip install 'phenomae[copairs]'"
        ) from None
    return compute


def mean_precisions(
    features: Float[np.ndarray, "n d"], pairing: Pairing, draws: int, seed: int
) -> pl.DataFrame:
    """Return one row per group that has positives and negatives, in the order of the codes.

    Columns: code, rows (number of profiles with positives and negatives), average_precision (mean
    over these profiles), chance (expected value of a random ranking), p (see `exchange_test`),
    p_adjusted (FDR over the groups, Benjamini & Hochberg 1995), copairs_p (p-value of copairs).
    """
    load_copairs()  # what is missing is said before the work
    found = precisions_of_profiles(unit_rows(features), pairing)
    found = found.filter((pl.col("positives") > 0) & (pl.col("pairs") > pl.col("positives")))
    # Sorted, so that the last bits of means do not depend on the order of the profiles.
    found = found.sort("code", "precision", "positives", "pairs")
    if found.is_empty():
        return pl.DataFrame(schema=_MEANS)
    table = (
        _with_chance(found)
        .group_by("code")
        .agg(
            rows=pl.len().cast(pl.Int64),
            average_precision=pl.col("precision").mean(),
            chance=pl.col("chance").mean(),
        )
        .join(_p_of_copairs(found, draws, seed), on="code")
        .sort("code")
    )
    p = p_of_groups(features, pairing, table["code"].to_numpy(), draws, seed)
    p_values = {"p": p, "p_adjusted": false_discovery_rates(p)}
    return table.with_columns(**{name: pl.Series(one) for name, one in p_values.items()}).select(
        list(_MEANS)
    )


def _with_chance(found: pl.DataFrame) -> pl.DataFrame:
    """Add the expected value of a random ranking."""
    kinds = found.select("positives", "pairs").unique()
    right, pairs = kinds["positives"].to_numpy(), kinds["pairs"].to_numpy()
    chance = [chance_precision(a, b) for a, b in zip(right, pairs - right, strict=True)]
    with_chance = kinds.with_columns(chance=pl.Series(chance))
    return found.join(with_chance, on=["positives", "pairs"], maintain_order="left")


def _p_of_copairs(found: pl.DataFrame, draws: int, seed: int) -> pl.DataFrame:
    """Return the p-value of every code as copairs defines it, from its null distributions.

    It is (1 + null values above the mean average precision) / (1 + draws). A null value is the mean
    over the profiles of values drawn for their numbers of positives and pairs.
    """
    kinds, kind_of = np.unique(
        found.select("positives", "pairs").to_numpy(), axis=0, return_inverse=True
    )
    # copairs caches its null distributions on disk, so its p-values depend on earlier calls. With a
    # cache folder per call, the p-values depend on the scores and the seed alone.
    with tempfile.TemporaryDirectory() as folder:
        nulls = load_copairs().get_null_dists(
            kinds, draws, seed=seed, cache_dir=folder, progress_bar=False
        )
    rows: list[tuple[int, float]] = []
    for (code,), some in found.with_columns(kind=kind_of.reshape(-1)).group_by("code"):
        null = nulls[some["kind"].to_numpy()].mean(axis=0)
        above = int((null > some["precision"].to_numpy().mean()).sum())
        rows.append((code, (above + 1) / (draws + 1)))
    return pl.DataFrame(rows, {"code": pl.Int64, "copairs_p": pl.Float64}, orient="row")
