"""Does a compound's nearest neighbour act as it does: mechanisms of action told by profiles.

Ljosa et al. 2013 count the nearest profile that is not of the same compound (NSC), Ando et al. 2017
also the nearest that is neither of the same compound nor of the same batch (NSCB).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import polars as pl
from cyclopts import Parameter
from jaxtyping import Float64

from phenomae.evaluation.questions.compound_profiles import CompoundProfiles, make_profiles
from phenomae.evaluation.questions.neighbours import (
    Codes,
    count_right,
    matched_share,
    nearest_others,
)
from phenomae.evaluation.settings import check_seed
from phenomae.maps.p_values import p_values
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


@Parameter(name="*")
@dataclass(frozen=True)
class MechanismSettings:
    """Which profiles are matched, and with which others."""

    mechanisms: Path
    """CSV file with the columns compound, mechanism."""
    match: Annotated[tuple[Match, ...], Parameter(consume_multiple=True, negative=())] = (
        "nsc",
        "nscb",
    )
    """nsc: with profiles that are not of the same compound; nscb: nor of the same batch."""
    batch: str = "batch"
    """Column of the wells that says which were made together."""
    shuffle: int = 1000
    """Repeat so often with the mechanisms shuffled among compounds, to say what chance gives."""
    seed: int = 0
    """Of the shuffles."""

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if self.shuffle < 2:
            raise ValueError(f"shuffle must be 2 or more, not {self.shuffle}")
        if not self.match:
            raise ValueError("match is empty: give nsc, nscb or both")


def match_mechanisms(
    screen: Profiles, source: Path, settings: MechanismSettings
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the rows of mechanisms.csv and of confusion.csv.

    The first has a row a way of matching: the share of profiles whose nearest has their mechanism,
    how many were asked and how many could not be right whatever the nearest (left_out), and mean,
    spread and p-value of what shuffled mechanisms give. The second counts, for each mechanism, the
    mechanisms of its profiles' nearest.

    Raises ValueError where the file of mechanisms does not do, fewer than two mechanisms are on the
    wells, or, for nscb, all wells are of one batch.
    """
    profiles = make_profiles(screen, source, settings.mechanisms, settings.batch)
    if "nscb" in settings.match and len(np.unique(profiles.batches)) < 2:
        raise ValueError(
            f"{source} has wells of one {settings.batch} only, and nscb matches with another: ask "
            "for --match nsc, or name another --batch column"
        )
    rows: list[Row] = []
    confusions: list[pl.DataFrame] = []
    for match in dict.fromkeys(settings.match):
        row, confusion = _match(profiles, match, source, settings)
        rows.append(row)
        confusions.append(confusion)
    return pl.DataFrame(rows, schema=MECHANISMS, orient="row"), pl.concat(confusions)


def _match(
    profiles: CompoundProfiles, match: Match, source: Path, settings: MechanismSettings
) -> tuple[Row, pl.DataFrame]:
    """Return the row of one way of matching, and its confusions."""
    batches = profiles.batches if match == "nscb" else None
    apart = [profiles.compounds] if batches is None else [profiles.compounds, batches]
    nearest = nearest_others(profiles.unit, *apart)
    labels = profiles.mechanisms[profiles.compounds]
    asked = count_right(labels, profiles.compounds, batches) > 0
    if not asked.any():
        where = "" if batches is None else f" on more than one {settings.batch}"
        raise ValueError(
            f"{settings.mechanisms}: no mechanism has two compounds of {source}{where}, so that "
            f"no neighbour can be right ({match}): name more compounds of a mechanism"
        )
    accuracy = matched_share(labels, nearest, asked)
    counts = [len(np.unique(codes[asked])) for codes in (profiles.compounds, labels)]
    chance = compare_with_chance(accuracy, shuffled_shares(profiles, nearest, batches, settings))
    row = (match, accuracy, int(asked.sum()), int((~asked).sum()), *counts, *chance)
    pairs = np.column_stack([labels[asked], labels[nearest[asked]]])
    found, sizes = np.unique(pairs, axis=0, return_counts=True)
    names = [(profiles.names[one], profiles.names[other]) for one, other in found]
    rows = [(match, *pair, int(size)) for pair, size in zip(names, sizes, strict=True)]
    return row, pl.DataFrame(rows, schema=CONFUSION, orient="row")


def shuffled_shares(
    profiles: CompoundProfiles, nearest: Codes, batches: Codes | None, settings: MechanismSettings
) -> Float64[np.ndarray, " shuffles"]:
    """Return the accuracy when mechanisms are shuffled among compounds, once a shuffle.

    Neighbours stay; a shuffle in which no profile could be right is left out. Shuffle k is a
    function of the seed and k.
    """
    shares = np.empty(settings.shuffle)
    for k in range(settings.shuffle):
        order = np.random.default_rng([settings.seed, k]).permutation(len(profiles.mechanisms))
        labels = profiles.mechanisms[order][profiles.compounds]
        asked = count_right(labels, profiles.compounds, batches) > 0
        shares[k] = matched_share(labels, nearest, asked)
    return shares[~np.isnan(shares)]


def compare_with_chance(
    observed: float, null: Float64[np.ndarray, " shuffles"]
) -> tuple[float | None, float | None, float]:
    """Return mean and spread of the null, and the p-value of what was observed."""
    mean = float(null.mean()) if len(null) else None
    spread = float(null.std(ddof=1)) if len(null) > 1 else None
    return mean, spread, float(p_values(np.array([observed]), null)[0])
