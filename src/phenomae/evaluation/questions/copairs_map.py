"""Mean average precision (mAP) of groups of profiles, computed by the package copairs.

Each profile of a group ranks its positives (other members of the group) and its negatives by cosine
(Kalinin et al. 2025, Nature Communications 16, 5181). This module calls copairs in parts that fit
in memory, and adds the expected value of a random ranking and p-values of a permutation test.
"""

import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float

from phenomae.evaluation.questions.average_precision import (
    average_precisions,
    chance_precision,
)
from phenomae.evaluation.questions.exchange_test import p_of_groups
from phenomae.evaluation.questions.pairing import Codes, Pairing
from phenomae.maps.unit_vectors import unit_rows

_PAIRS = 4_000_000  # pairs that copairs has in memory at once
_SCORES = {"code": pl.Int64, "positives": pl.Int64, "pairs": pl.Int64, "precision": pl.Float64}
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
    """Return the module copairs.map; raises ValueError if the package is not installed."""
    try:
        from copairs import map as copairs_map
    except ImportError:
        raise ValueError(
            "average precision needs copairs: pip install 'phenomae[copairs]'"
        ) from None
    return copairs_map


def mean_precisions(
    features: Float[np.ndarray, "n d"], pairing: Pairing, draws: int, seed: int
) -> pl.DataFrame:
    """Return one row per group that has positives and negatives, in the order of the codes.

    Columns: code, rows (number of profiles with positives and negatives), average_precision (mean
    over these profiles), chance (expected value of a random ranking), p (see `exchange_test`),
    p_adjusted (FDR over the groups, Benjamini & Hochberg 1995), copairs_p (p-value of copairs).
    """
    from scipy.stats import false_discovery_control  # .6 s to import

    if pairing.members is None:
        parts = [_precisions(features, pairing, part) for part in _parts(pairing)]
    else:
        parts = [_precisions_of_several(features, pairing)]
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
        )
        .join(_p_of_copairs(found, draws, seed), on="code")
        .sort("code")
    )
    p = p_of_groups(features, pairing, table["code"].to_numpy(), draws, seed)
    p_values = {"p": p, "p_adjusted": false_discovery_control(p)}
    return table.with_columns(**{name: pl.Series(one) for name, one in p_values.items()}).select(
        list(_MEANS)
    )


def _parts(pairing: Pairing) -> Iterator[Codes]:
    """Yield the groups in parts, so that the pairs of a part fit in memory."""
    sizes = np.bincount(pairing.groups[pairing.groups >= 0])
    others = len(pairing.groups) if pairing.against == "groups" else (pairing.groups < 0).sum()
    # Each profile is paired with the negatives and with its own group.
    part = np.cumsum(sizes * (others + sizes)) // _PAIRS
    for number in np.unique(part):
        yield np.flatnonzero((part == number) & (sizes > 0))


def _precisions(features: Float[np.ndarray, "n d"], pairing: Pairing, part: Codes) -> pl.DataFrame:
    """Return code, positives, pairs and average precision of every profile of some groups."""
    copairs_map = load_copairs()
    from copairs.matching import UnpairedException

    queries, control = np.isin(pairing.groups, part), pairing.groups < 0
    all_groups = pairing.against == "groups"
    rows = np.flatnonzero(~control if all_groups else queries | control)
    # copairs takes rows with the same "side" out of each other's negatives. These are the rows of
    # other parts (against groups) or all treated rows (against controls); other rows have a side
    # of their own.
    distinct = queries if all_groups else control
    columns = {
        "code": pairing.groups[rows],
        "side": np.where(distinct[rows], np.arange(len(rows)), -1),
        "source": None if pairing.sources is None else pairing.sources[rows],
        "plate": None if pairing.plates is None else pairing.plates[rows],
        "apart": None if pairing.apart is None else pairing.apart[rows],
    }
    apart = [] if pairing.apart is None else ["apart"]
    try:
        found = copairs_map.average_precision(
            pl.DataFrame(columns).to_pandas(),
            features[rows].astype(np.float64),
            pos_sameby=["code"] if all_groups else ["code", "side"],
            pos_diffby=[*([] if pairing.sources is None else ["source"]), *apart],
            neg_sameby=[] if pairing.plates is None else ["plate"],
            neg_diffby=["code", "side", *apart],
            progress_bar=False,
        )
    except UnpairedException:  # copairs raises if a part has no positives or no negatives at all
        return pl.DataFrame(schema=_SCORES)
    scores = {
        "code": found["code"].to_numpy(),
        "positives": found["n_pos_pairs"].to_numpy(),
        "pairs": found["n_total_pairs"].to_numpy(),
        "precision": found["average_precision"].to_numpy(),
    }
    return pl.DataFrame(scores, schema=_SCORES).filter(queries[rows])


def _precisions_of_several(features: Float[np.ndarray, "n d"], pairing: Pairing) -> pl.DataFrame:
    """Do as `_precisions` for profiles of several groups, once for each group of a profile.

    As `copairs.map.multilabel`, which takes all pairs into memory at once.
    """
    assert pairing.members is not None
    unit = unit_rows(features.astype(np.float64))
    rows: list[tuple[int, int, int, float]] = []
    everything = np.arange(len(unit))
    groups = np.arange(pairing.members.shape[1])
    members = pairing.list_members(groups)
    for query in everything.tolist():
        cosines = unit @ unit[query]
        negatives = pairing.may_be_negatives(query, everything)
        wrong = cosines[negatives][None]
        for group in np.flatnonzero(pairing.members[query]).tolist():
            others = members[group]
            right = cosines[others[pairing.may_be_positives(query, others)]]
            count = len(right), len(right) + wrong.shape[1]
            precision = average_precisions(right, wrong)[0] if len(right) else np.nan
            rows.append((group, *count, float(precision)))
    return pl.DataFrame(rows, schema=_SCORES, orient="row")


def _with_chance(found: pl.DataFrame) -> pl.DataFrame:
    """Add the expected value of a random ranking."""
    kinds = found.select("positives", "pairs").unique()
    right, pairs = kinds["positives"].to_numpy(), kinds["pairs"].to_numpy()
    chance = [chance_precision(a, b) for a, b in zip(right, pairs - right, strict=True)]
    return found.join(kinds.with_columns(chance=pl.Series(chance)), on=["positives", "pairs"])


def _p_of_copairs(found: pl.DataFrame, draws: int, seed: int) -> pl.DataFrame:
    """Return the p-value of every code, computed by copairs."""
    scores = found.rename(
        {"positives": "n_pos_pairs", "pairs": "n_total_pairs", "precision": "average_precision"}
    ).with_columns(normalized_average_precision=pl.lit(0.0))
    # copairs caches its null distributions on disk, so its p-values depend on earlier calls. With a
    # cache folder per call, the p-values depend on the scores and the seed alone.
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
    columns = {"code": means["code"].to_numpy(), "copairs_p": means["p_value"].to_numpy()}
    return pl.DataFrame(columns)
