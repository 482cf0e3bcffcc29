"""Do nearest neighbours share a mechanism of action? NSC and NSCB accuracy.

NSC (not same compound) matches each compound profile with the nearest profile of another compound
(Ljosa et al. 2013), NSCB (not same compound or batch) with the nearest profile of another compound
in another batch (Ando et al. 2017). Similarity within a batch can raise NSC accuracy, but not NSCB
accuracy. Tiers do the same for plates and well positions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import polars as pl
from cyclopts import Parameter
from jaxtyping import Float64, Int

from phenomae import checks
from phenomae.evaluation.questions.compound_profiles import (
    CompoundProfiles,
    code_profiles,
    make_profiles,
)
from phenomae.evaluation.questions.neighbours import (
    Codes,
    compare_with_chance,
    count_matches,
    count_right,
    matched_share,
    nearest_others,
)
from phenomae.evaluation.questions.parts import compute_parts
from phenomae.evaluation.questions.question import Question, Score, Tables, takes_wells
from phenomae.evaluation.questions.unit_scores import UnitScores, unit_scores
from phenomae.evaluation.recall.baselines import split_by
from phenomae.evaluation.recall.tiers import TierName
from phenomae.evaluation.settings import Several, check_tiers
from phenomae.paths import PathLike
from phenomae.wells import Profiles

Match = Literal["nsc", "nscb"]
Row = tuple[str | float | None, ...]
KEYS = ("tier", "match")
MECHANISMS: dict[str, pl.DataType] = {
    "tier": pl.String(),
    "match": pl.String(),
    "accuracy": pl.Float64(),
    "profiles": pl.Int64(),
    "left_out": pl.Int64(),
    "compounds": pl.Int64(),
    "mechanisms": pl.Int64(),
    "chance": pl.Float64(),
    "sd": pl.Float64(),
    "p": pl.Float64(),
}
CONFUSION: dict[str, pl.DataType] = {
    "tier": pl.String(),
    "match": pl.String(),
    "mechanism": pl.String(),
    "nearest": pl.String(),
    "profiles": pl.Int64(),
}
COMPOUNDS: dict[str, pl.DataType] = {
    "tier": pl.String(),
    "match": pl.String(),
    "compound": pl.String(),
    "mechanism": pl.String(),
    "profiles": pl.Int64(),
    "right": pl.Int64(),
}


@Parameter(name="*")
@dataclass(frozen=True)
class MechanismSettings:
    """Which profiles are candidates for the nearest neighbour; settings of the permutation test."""

    mechanisms: PathLike
    """CSV file with the columns compound, mechanism. Several mechanisms of a compound stand in one
    cell as `A|B`, or in rows of their own; two compounds match if they share one."""
    match: Annotated[tuple[Match, ...], Several] = ("nsc", "nscb")
    """nsc: candidates are profiles of other compounds; nscb: profiles of other compounds in other
    batches."""
    batch: str = "batch"
    """Column of the wells with the experimental batch."""
    tiers: Annotated[tuple[TierName, ...], Several] = ("any",)
    """Which profiles are candidates: any, or those of wells on another plate, of another batch, at
    another well position. Several may be given. Profiles are means within a plate, batch or
    position then."""
    shuffle: int = 1000
    """Number of permutations of the mechanisms among compounds, for the null distribution."""
    seed: int = 0
    """Seed of the permutations."""

    def __post_init__(self) -> None:
        checks.whole_numbers(self)
        checks.at_least("seed", self.seed, 0)
        checks.at_least("shuffle", self.shuffle, 2)
        checks.require(bool(self.match), "match", "nsc, nscb or both", "empty")
        check_tiers(self.tiers)


def match_mechanisms(
    wells: Profiles, path: Path, settings: MechanismSettings
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Compute the rows of mechanisms.csv and of confusion.csv.

    mechanisms.csv has one row per tier and kind of match (NSC, NSCB): the fraction of profiles
    whose nearest neighbour has their mechanism, the number of these profiles, the number of
    profiles left out because no candidate has their mechanism, and the null distribution's mean
    and standard deviation with the p-value. confusion.csv has the number of profiles for each pair
    of a mechanism and the mechanism of the nearest neighbour.

    A kind of match or tier in which no neighbour can match, and nscb of a single batch, has no row,
    and the reason is logged. Raises ValueError if the file of mechanisms cannot be used, the wells
    have fewer than two mechanisms, or there is no row at all.
    """
    table, confusion, _ = _match_all(wells, path, settings)
    return table, confusion


def _match_all(
    wells: Profiles, path: Path, settings: MechanismSettings
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Return the rows of mechanisms.csv, confusion.csv and compounds.csv."""
    made = make_profiles(wells, path, Path(settings.mechanisms), settings.batch, settings.tiers)
    found = compute_parts(
        {
            (tier, match): partial(_match, profiles, tier, match, path, settings)
            for tier, profiles in made.items()
            for match in settings.match
        },
        lambda key: key[1] if key[0] == "any" else f"{key[1]} in tier {key[0]}",
    )
    rows, confusions, matched = zip(*found.values(), strict=True)
    table = pl.DataFrame(list(rows), schema=MECHANISMS, orient="row")
    return table, pl.concat(confusions), pl.concat(matched)


def _match(
    profiles: CompoundProfiles,
    tier: TierName,
    match: Match,
    path: Path,
    settings: MechanismSettings,
) -> tuple[Row, pl.DataFrame, pl.DataFrame]:
    """Return the row of mechanisms.csv, and the rows of the other tables, for one kind of match.

    Raises ValueError if no neighbour can match, or all wells are of one batch (for nscb).
    """
    if match == "nscb" and len(np.unique(profiles.batches)) < 2:
        raise ValueError(
            f"{path} has wells of a single {settings.batch}, but nscb needs at least two: set "
            "match to nsc, or batch to another column"
        )
    excluded = excluded_codes(profiles, match)
    # Computed once, because permuting mechanisms does not change the neighbours.
    nearest = nearest_others(profiles.unit, *excluded)
    labels, agree = profiles.mechanisms[profiles.compounds], profiles.agree
    # A profile without any candidate of its mechanism cannot match, whatever the features are.
    used = count_matches(labels, *excluded, agree=agree) > 0
    if not used.any():
        where = f" in more than one {settings.batch}" if match == "nscb" else ""
        where += "" if tier == "any" else f" in tier {tier}"
        raise ValueError(
            f"{settings.mechanisms}: no mechanism has two compounds in {path}{where}, so no "
            f"neighbour can be right ({match}): list more compounds per mechanism"
        )
    accuracy = matched_share(labels, nearest, used, agree)
    mechanisms = profiles.members[np.unique(labels[used])].any(axis=0)
    counts = [len(np.unique(profiles.compounds[used])), int(mechanisms.sum())]
    chance = compare_with_chance(accuracy, shuffled_shares(profiles, nearest, excluded, settings))
    row = (tier, match, accuracy, int(used.sum()), int((~used).sum()), *counts, *chance)
    pairs = np.column_stack([labels[used], labels[nearest[used]]])
    found, sizes = np.unique(pairs, axis=0, return_counts=True)
    names = [(profiles.names[one], profiles.names[other]) for one, other in found]
    rows = [(tier, match, *pair, int(size)) for pair, size in zip(names, sizes, strict=True)]
    confusion = pl.DataFrame(rows, schema=CONFUSION, orient="row")
    counts = count_right(labels, nearest, used, profiles.compounds, agree)
    return row, confusion, _compounds_table(profiles, tier, match, counts)


def _compounds_table(
    profiles: CompoundProfiles,
    tier: TierName,
    match: Match,
    counts: tuple[Int[np.ndarray, " compounds"], Int[np.ndarray, " compounds"]],
) -> pl.DataFrame:
    """Return the rows of compounds.csv: compounds with profiles that can match, and `counts`."""
    mechanisms = [profiles.names[code] for code in profiles.mechanisms]
    rows = zip(profiles.compound_names, mechanisms, *counts, strict=True)
    table = pl.DataFrame([(tier, match, *row) for row in rows], schema=COMPOUNDS, orient="row")
    return table.filter(pl.col("profiles") > 0)


def excluded_codes(profiles: CompoundProfiles, match: Match) -> list[Codes]:
    """Return the codes that two profiles may not share, if one is a candidate of the other."""
    found = [profiles.compounds]
    if match == "nscb":
        found.append(profiles.batches)
    if profiles.groups is not None:
        found.append(profiles.groups)
    return found


def shuffled_shares(
    profiles: CompoundProfiles,
    nearest: Codes,
    excluded: Sequence[Codes],
    settings: MechanismSettings,
) -> Float64[np.ndarray, " shuffles"]:
    """Return the accuracy under each permutation of the mechanisms among compounds.

    A permutation does not change the nearest neighbours. Permutations under which no profile has a
    candidate of its mechanism are left out. Permutation k depends on the seed and k alone.
    """
    # Mechanisms are permuted among compounds, not profiles, so that all profiles of a compound keep
    # the same mechanism.
    shares, agree = np.empty(settings.shuffle), profiles.agree
    for k in range(settings.shuffle):
        order = np.random.default_rng([settings.seed, k]).permutation(len(profiles.mechanisms))
        labels = profiles.mechanisms[order][profiles.compounds]
        used = count_matches(labels, *excluded, agree=agree) > 0
        shares[k] = matched_share(labels, nearest, used, agree)
    return shares[~np.isnan(shares)]


def _tables(wells: Profiles, path: Path, settings: MechanismSettings) -> Tables:
    table, confusion, compounds = _match_all(wells, path, settings)
    return {"mechanisms.csv": table, "confusion.csv": confusion, "compounds.csv": compounds}


def _units(tables: Tables, settings: MechanismSettings) -> dict[tuple[str, ...], UnitScores]:
    """Return the matched profiles of each compound, because profiles of one are not independent."""
    return {
        tuple(key.values()): unit_scores(
            rows, "compound", total=pl.col("right"), weight=pl.col("profiles")
        )
        for key, rows in split_by(tables["compounds.csv"], KEYS)
    }


def _averaged(table: pl.DataFrame, settings: MechanismSettings, path: Path) -> list[Codes]:
    """Return for each tier a code of the compound, dose and batch of each well."""
    mechanisms = Path(settings.mechanisms)
    return code_profiles(table, path, mechanisms, settings.batch, settings.tiers)


QUESTION = Question(
    name="mechanisms",
    help="""Do nearest neighbours share a mechanism of action? NSC and NSCB accuracy.

    Writes mechanisms.csv, which is printed, confusion.csv, and compounds.csv, the number of matched
    profiles per compound. Raises ValueError if the file of mechanisms cannot be used, or no
    neighbour can be right.
    """,
    takes=(takes_wells("Folder of wells of compounds, usually corrected."),),
    settings=MechanismSettings,
    tables=_tables,
    printed="mechanisms.csv",
    files=("mechanisms",),
    averaged=_averaged,
    score=Score("accuracy", _units, keys=KEYS),
)
