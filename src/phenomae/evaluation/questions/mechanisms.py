"""Do nearest neighbours share a mechanism of action? NSC and NSCB accuracy.

NSC (not same compound) matches each compound profile with the nearest profile of another compound
(Ljosa et al. 2013), NSCB (not same compound or batch) with the nearest profile of another compound
in another batch (Ando et al. 2017). Similarity within a batch can raise NSC accuracy, but not NSCB
accuracy.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import polars as pl
from cyclopts import Parameter
from jaxtyping import Bool, Float64

from phenomae import checks
from phenomae.evaluation.questions.compound_profiles import CompoundProfiles, make_profiles
from phenomae.evaluation.questions.neighbours import (
    Codes,
    count_matches,
    matched_share,
    nearest_others,
)
from phenomae.evaluation.questions.question import Question, Score, Tables, takes_wells
from phenomae.evaluation.questions.unit_scores import UnitScores, unit_scores
from phenomae.evaluation.recall.baselines import split_by
from phenomae.maps.p_values import p_values
from phenomae.paths import PathLike
from phenomae.wells import Profiles

Match = Literal["nsc", "nscb"]
Row = tuple[str | float | None, ...]
MECHANISMS: dict[str, pl.DataType] = {
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
    "match": pl.String(),
    "mechanism": pl.String(),
    "nearest": pl.String(),
    "profiles": pl.Int64(),
}

COMPOUNDS: dict[str, pl.DataType] = {
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
    """CSV file with the columns compound, mechanism."""
    match: Annotated[tuple[Match, ...], Parameter(consume_multiple=True, negative=())] = (
        "nsc",
        "nscb",
    )
    """nsc: candidates are profiles of other compounds; nscb: profiles of other compounds in other
    batches."""
    batch: str = "batch"
    """Column of the wells with the experimental batch."""
    shuffle: int = 1000
    """Number of permutations of the mechanisms among compounds, for the null distribution."""
    seed: int = 0
    """Seed of the permutations."""

    def __post_init__(self) -> None:
        checks.at_least("seed", self.seed, 0)
        checks.at_least("shuffle", self.shuffle, 2)
        checks.require(bool(self.match), "match", "nsc, nscb or both", "empty")


def match_mechanisms(
    wells: Profiles, path: Path, settings: MechanismSettings
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Compute the rows of mechanisms.csv and of confusion.csv.

    mechanisms.csv has one row per kind of match (NSC, NSCB): the fraction of profiles whose nearest
    neighbour has their mechanism, the number of these profiles, the number of profiles left out
    because no candidate has their mechanism, and the null distribution's mean and standard
    deviation with the p-value. confusion.csv has the number of profiles for each pair of a
    mechanism and the mechanism of the nearest neighbour.

    Raises ValueError if the file of mechanisms cannot be used, the wells have fewer than two
    mechanisms, no neighbour can match, or, for nscb, all wells are of one batch.
    """
    table, confusion, _ = _match_all(wells, path, settings)
    return table, confusion


def _match_all(
    wells: Profiles, path: Path, settings: MechanismSettings
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Return the rows of mechanisms.csv, confusion.csv and compounds.csv."""
    profiles = make_profiles(wells, path, Path(settings.mechanisms), settings.batch)
    if "nscb" in settings.match and len(np.unique(profiles.batches)) < 2:
        raise ValueError(
            f"{path} has wells of a single {settings.batch}, but nscb needs at least two: set "
            "match to nsc, or batch to another column"
        )
    rows: list[Row] = []
    confusions: list[pl.DataFrame] = []
    matched: list[pl.DataFrame] = []
    # Without duplicates: a kind that the user gives twice would have two equal rows.
    for match in dict.fromkeys(settings.match):
        row, confusion, of_compounds = _match(profiles, match, path, settings)
        rows.append(row)
        confusions.append(confusion)
        matched.append(of_compounds)
    table = pl.DataFrame(rows, schema=MECHANISMS, orient="row")
    return table, pl.concat(confusions), pl.concat(matched)


def _match(
    profiles: CompoundProfiles, match: Match, path: Path, settings: MechanismSettings
) -> tuple[Row, pl.DataFrame, pl.DataFrame]:
    """Return the row of mechanisms.csv, and the rows of the other tables, for one kind of match."""
    batches = profiles.batches if match == "nscb" else None
    excluded = [profiles.compounds] if batches is None else [profiles.compounds, batches]
    # Computed once, because permuting mechanisms does not change the neighbours.
    nearest = nearest_others(profiles.unit, *excluded)
    labels = profiles.mechanisms[profiles.compounds]
    # A profile without any candidate of its mechanism cannot match, whatever the features are.
    used = count_matches(labels, profiles.compounds, batches) > 0
    if not used.any():
        where = "" if batches is None else f" in more than one {settings.batch}"
        raise ValueError(
            f"{settings.mechanisms}: no mechanism has two compounds in {path}{where}, so no "
            f"neighbour can be right ({match}): list more compounds per mechanism"
        )
    accuracy = matched_share(labels, nearest, used)
    counts = [len(np.unique(codes[used])) for codes in (profiles.compounds, labels)]
    chance = compare_with_chance(accuracy, shuffled_shares(profiles, nearest, batches, settings))
    row = (match, accuracy, int(used.sum()), int((~used).sum()), *counts, *chance)
    pairs = np.column_stack([labels[used], labels[nearest[used]]])
    found, sizes = np.unique(pairs, axis=0, return_counts=True)
    names = [(profiles.names[one], profiles.names[other]) for one, other in found]
    rows = [(match, *pair, int(size)) for pair, size in zip(names, sizes, strict=True)]
    confusion = pl.DataFrame(rows, schema=CONFUSION, orient="row")
    return row, confusion, _count_matched(match, profiles, used, labels[nearest] == labels)


def _count_matched(
    match: Match,
    profiles: CompoundProfiles,
    used: Bool[np.ndarray, " k"],
    right: Bool[np.ndarray, " k"],
) -> pl.DataFrame:
    """Return how many of the `used` profiles of each compound have a `right` neighbour."""
    count = len(profiles.compound_names)
    sizes, rights = (
        np.bincount(profiles.compounds[chosen], minlength=count) for chosen in (used, used & right)
    )
    mechanisms = [profiles.names[code] for code in profiles.mechanisms]
    rows = zip([match] * count, profiles.compound_names, mechanisms, sizes, rights, strict=True)
    table = pl.DataFrame(list(rows), schema=COMPOUNDS, orient="row")
    return table.filter(pl.col("profiles") > 0)


def shuffled_shares(
    profiles: CompoundProfiles, nearest: Codes, batches: Codes | None, settings: MechanismSettings
) -> Float64[np.ndarray, " shuffles"]:
    """Return the accuracy under each permutation of the mechanisms among compounds.

    A permutation does not change the nearest neighbours. Permutations under which no profile has a
    candidate of its mechanism are left out. Permutation k depends on the seed and k alone.
    """
    # Mechanisms are permuted among compounds, not profiles, so that all profiles of a compound keep
    # the same mechanism.
    shares = np.empty(settings.shuffle)
    for k in range(settings.shuffle):
        order = np.random.default_rng([settings.seed, k]).permutation(len(profiles.mechanisms))
        labels = profiles.mechanisms[order][profiles.compounds]
        used = count_matches(labels, profiles.compounds, batches) > 0
        shares[k] = matched_share(labels, nearest, used)
    return shares[~np.isnan(shares)]


def compare_with_chance(
    observed: float, null: Float64[np.ndarray, " shuffles"]
) -> tuple[float | None, float | None, float]:
    """Return mean and standard deviation of the null distribution, and the p-value."""
    mean = float(null.mean()) if len(null) else None
    spread = float(null.std(ddof=1)) if len(null) > 1 else None
    return mean, spread, float(p_values(np.array([observed]), null)[0])


def _tables(wells: Profiles, path: Path, settings: MechanismSettings) -> Tables:
    table, confusion, compounds = _match_all(wells, path, settings)
    return {"mechanisms.csv": table, "confusion.csv": confusion, "compounds.csv": compounds}


def _units(tables: Tables, settings: MechanismSettings) -> dict[tuple[str, ...], UnitScores]:
    """Return the matched profiles of each compound, because profiles of one are not independent."""
    return {
        (str(key["match"]),): unit_scores(
            rows, "compound", total=pl.col("right"), weight=pl.col("profiles")
        )
        for key, rows in split_by(tables["compounds.csv"], ["match"])
    }


QUESTION = Question(
    name="mechanisms",
    help="""Do nearest neighbours share a mechanism of action? NSC and NSCB accuracy.

    Writes mechanisms.csv, which is printed, confusion.csv, and compounds.csv, the number of matched
    profiles per compound. Raises ValueError if the file of
    mechanisms cannot be used, or no neighbour can be right.
    """,
    takes=(takes_wells("Folder of wells of compounds, usually corrected."),),
    settings=MechanismSettings,
    tables=_tables,
    printed="mechanisms.csv",
    files=("mechanisms",),
    score=Score("accuracy", _units, keys=("match",)),
)
