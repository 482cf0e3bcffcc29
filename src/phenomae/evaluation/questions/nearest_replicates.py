"""How often is the nearest neighbour of a well a replicate? By tier of pairs of wells.

Wells of one plate, batch or position are similar for technical reasons. If replicates share them,
the rate measures the layout: MorphoHELM (Lu et al. 2026, arXiv 2605.15383) leaves such wells out of
the candidates, as the tiers do here.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import polars as pl
from cyclopts import Parameter
from jaxtyping import Float64

from phenomae import checks
from phenomae.evaluation.questions.neighbours import (
    Codes,
    compare_with_chance,
    count_matches,
    count_right,
    matched_share,
    nearest_others,
)
from phenomae.evaluation.questions.parts import compute_parts, name_tier
from phenomae.evaluation.questions.question import Question, Score, Tables, takes_wells
from phenomae.evaluation.questions.replicates import find_replicates, require_replicates
from phenomae.evaluation.questions.unit_scores import UnitScores, unit_scores
from phenomae.evaluation.recall.baselines import split_by
from phenomae.evaluation.recall.tiers import TierName
from phenomae.evaluation.settings import Several, check_tiers
from phenomae.evaluation.tier_groups import tier_groups
from phenomae.maps.unit_vectors import unit_wells
from phenomae.wells import Profiles

Row = tuple[str | float | None, ...]
NEIGHBOURS: dict[str, pl.DataType] = {
    "tier": pl.String(),
    "rate": pl.Float64(),
    "wells": pl.Int64(),
    "left_out": pl.Int64(),
    "names": pl.Int64(),
    "chance": pl.Float64(),
    "sd": pl.Float64(),
    "p": pl.Float64(),
}
NAMES: dict[str, pl.DataType] = {
    "tier": pl.String(),
    "name": pl.String(),
    "wells": pl.Int64(),
    "right": pl.Int64(),
}


@Parameter(name="*")
@dataclass(frozen=True)
class NeighbourSettings:
    """Which wells are replicates and candidates; settings of the permutation test."""

    by: Literal["perturbation", "gene", "guide", "compound"] = "perturbation"
    """Column with the names of replicates: wells with the same name are replicates."""
    tiers: Annotated[tuple[TierName, ...], Several] = ("any",)
    """Which wells are candidates: any, or those on another plate, of another batch, at another well
    position. Several may be given."""
    shuffle: int = 200
    """Number of permutations of the names among wells, for the null distribution."""
    seed: int = 0
    """Seed of the permutations."""

    def __post_init__(self) -> None:
        checks.whole_numbers(self)
        checks.at_least("shuffle", self.shuffle, 2)
        checks.at_least("seed", self.seed, 0)
        check_tiers(self.tiers)


def match_neighbours(
    profiles: Profiles, path: Path, settings: NeighbourSettings = NeighbourSettings()
) -> pl.DataFrame:
    """Compute the rows of neighbours.csv, one per tier.

    Columns: tier, rate (fraction of wells whose nearest neighbour has their name), wells (number of
    these wells), left_out (wells without a replicate in the tier), names, and mean and standard
    deviation of the rate under permuted names with the p-value. Candidates are the other treated
    wells that have a name and that the tier allows. `path` is named in errors.

    A tier that leaves no pair of replicates has no row, and the reason is logged. Raises ValueError
    if no name has two wells, a well has no cosine, or no tier has a pair of replicates.
    """
    return _match_all(profiles, path, settings)[0]


def _match_all(
    profiles: Profiles, path: Path, settings: NeighbourSettings
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the rows of neighbours.csv and of names.csv."""
    replicates = find_replicates(profiles.table, settings.by, path)
    require_replicates(replicates, 2, settings.by, path)
    treated = replicates.groups >= 0
    table = profiles.table.filter(treated)
    unit = unit_wells(profiles.features[treated], table, path)
    labels = replicates.groups[treated]
    found = compute_parts(
        {
            tier: partial(_match, unit, labels, table, tier, path, settings)
            for tier in settings.tiers
        },
        name_tier,
    )
    rows: list[Row] = [(tier, *row) for tier, (row, _) in found.items()]
    of_names: list[Row] = [
        (tier, *its)
        for tier, (_, counts) in found.items()
        for its in zip(replicates.names, *counts, strict=True)
        if its[1]
    ]
    return (
        pl.DataFrame(rows, schema=NEIGHBOURS, orient="row"),
        pl.DataFrame(of_names, schema=NAMES, orient="row"),
    )


def _match(
    unit: Float64[np.ndarray, "n d"],
    labels: Codes,
    table: pl.DataFrame,
    tier: TierName,
    path: Path,
    settings: NeighbourSettings,
) -> tuple[Row, tuple[Codes, Codes]]:
    """Return a row of neighbours.csv, and the numbers of wells and of right ones of each name."""
    groups = tier_groups(table, tier, path)
    # In tier any a well is apart from itself alone.
    apart = np.arange(len(labels)) if groups is None else groups
    used = count_matches(labels, apart) > 0
    if not used.any():
        raise ValueError(
            f"{path}: tier {tier} leaves no pair, because no two wells of a {settings.by} are in "
            f"it: leave {tier} out of tiers"
        )
    nearest = nearest_others(unit, apart)
    rate = matched_share(labels, nearest, used)
    chance = compare_with_chance(rate, shuffled_rates(labels, apart, nearest, settings))
    counts = int(used.sum()), int((~used).sum()), len(np.unique(labels[used]))
    return (rate, *counts, *chance), count_right(labels, nearest, used, labels)


def shuffled_rates(
    labels: Codes, apart: Codes, nearest: Codes, settings: NeighbourSettings
) -> Float64[np.ndarray, " shuffles"]:
    """Return the rate under each permutation of the names among the wells.

    Permutations under which no well has a replicate in the tier are left out. Permutation k depends
    on the seed and k alone.
    """
    rates = np.empty(settings.shuffle)
    for k in range(settings.shuffle):
        names = np.random.default_rng([settings.seed, k]).permutation(labels)
        rates[k] = matched_share(names, nearest, count_matches(names, apart) > 0)
    return rates[~np.isnan(rates)]


def _tables(profiles: Profiles, path: Path, settings: NeighbourSettings) -> Tables:
    table, names = _match_all(profiles, path, settings)
    return {"neighbours.csv": table, "names.csv": names}


def _units(tables: Tables, settings: NeighbourSettings) -> dict[tuple[str, ...], UnitScores]:
    """Return the wells of each name whose nearest neighbour has it, by tier."""
    return {
        (str(key["tier"]),): unit_scores(
            rows, "name", total=pl.col("right"), weight=pl.col("wells")
        )
        for key, rows in split_by(tables["names.csv"], ["tier"])
    }


def _averaged(table: pl.DataFrame, settings: NeighbourSettings, path: Path) -> list[Codes]:
    """Return a code of its own for each well that is compared, and -1 for all others."""
    replicates = find_replicates(table, settings.by, path)
    return [np.where(replicates.groups >= 0, np.arange(len(table)), -1)]


QUESTION = Question(
    name="neighbours",
    help="""How often is the nearest neighbour of a well a replicate?

    Writes neighbours.csv, which is printed: the rate in each tier, beside that of permuted names;
    and names.csv, the number of wells of each name that have such a neighbour. Raises ValueError if
    there are no replicates, or no tier has a pair of them.
    """,
    takes=(takes_wells(),),
    settings=NeighbourSettings,
    tables=_tables,
    printed="neighbours.csv",
    averaged=_averaged,
    score=Score("rate", _units, keys=("tier",)),
)
