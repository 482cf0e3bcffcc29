"""Do replicates retrieve each other? Phenotypic activity and consistency by mAP, as in copairs.

Kalinin et al. 2025 (Nature Communications 16, 5181) define phenotypic activity and consistency.
Phenotypic activity ranks the replicate wells of a perturbation among control wells. Phenotypic
consistency, called agreement here, ranks the perturbations of a gene, compound or mechanism among
all other perturbations. In a tier, positives and negatives are both on another plate, for example,
so that neither can gain from the layout.
"""

from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Float64

from phenomae.evaluation.questions.copairs_map import mean_precisions
from phenomae.evaluation.questions.pairing import Codes, Pairing
from phenomae.evaluation.questions.parts import compute_parts, name_tier
from phenomae.evaluation.questions.perturbation_agreement import (
    can_agree,
    measure_agreement,
    require_mechanisms,
)
from phenomae.evaluation.questions.precision_settings import PrecisionSettings, name_rows
from phenomae.evaluation.questions.question import Question, Score, Tables, takes_wells
from phenomae.evaluation.questions.replicates import (
    Replicates,
    find_replicates,
    require_controls,
    require_replicates,
)
from phenomae.evaluation.questions.unit_scores import UnitScores, unit_scores
from phenomae.evaluation.recall.baselines import split_by
from phenomae.evaluation.recall.tiers import TierName
from phenomae.evaluation.tier_groups import tier_groups
from phenomae.maps.unit_vectors import unit_wells
from phenomae.progress import info
from phenomae.wells import Profiles, require_finite


def measure_activity(
    profiles: Profiles, path: Path, settings: PrecisionSettings = PrecisionSettings()
) -> pl.DataFrame:
    """Compute the mAP of each perturbation's wells among controls (phenotypic activity).

    Columns: tier, the name (its column is `settings.by`), rows (wells that have replicates and
    controls in the tier), average_precision, chance (expected value of a random ranking), p,
    p_adjusted (over the names of the tier), copairs_p, retrieved. In tier any, the replicates of a
    well may be on any plate. `path` is named in errors.

    A tier that leaves no pair of wells has no row, and the reason is logged. Raises ValueError if
    no perturbation has two wells, no well with replicates is on a plate with controls, no tier has
    a pair of wells, or a profile is NaN or zero.
    """
    require_finite(profiles, path)
    replicates = find_replicates(profiles.table, settings.by, path)
    require_replicates(replicates, 2, settings.by, path)
    require_controls(replicates, 1, path)
    # Treated wells without a name are neither positives nor negatives.
    used = (replicates.groups >= 0) | replicates.control
    table = profiles.table.filter(used)
    # copairs would rank the NaN cosines of a zero profile first, so such profiles raise an error.
    vectors = unit_wells(profiles.features[used], table, path)
    inputs = (vectors, table, replicates, replicates.groups[used])
    found = compute_parts(
        {tier: partial(_activity, *inputs, tier, path, settings) for tier in settings.tiers},
        name_tier,
    )
    return pl.concat(found.values())


def _activity(
    vectors: Float64[np.ndarray, "k d"],
    table: pl.DataFrame,
    replicates: Replicates,
    groups: Codes,
    tier: TierName,
    path: Path,
    settings: PrecisionSettings,
) -> pl.DataFrame:
    """Return the rows of activity.csv for a tier; `groups` has the code of each well's name."""
    plates = None
    if settings.plates == "same":
        plates = np.unique(table["plate"].to_numpy(), return_inverse=True)[1]
    pairing = Pairing(groups, plates=plates, apart=tier_groups(table, tier, path))
    found = mean_precisions(vectors, pairing, settings.draws, settings.seed)
    if found.is_empty():
        if tier == "any":
            raise ValueError(
                f"{path}: no well with replicates is on a plate with controls; set plates to any "
                "to use the controls of all plates"
            )
        raise ValueError(
            f"{path}: tier {tier} leaves no pair, because no well has both a replicate and a "
            f"control in it: leave {tier} out of tiers"
        )
    if left_out := len(replicates.names) - len(found):
        where = "on their plates" if tier == "any" else f"in tier {tier}"
        info(f"{settings.by}s left out, without replicates or controls {where}: {left_out}")
    return name_rows(found, tier, settings.by, replicates.names, settings.level)


def share_retrieved(table: pl.DataFrame) -> pl.DataFrame:
    """Return one row per tier: number of names, mean precision and chance, fraction retrieved."""
    return table.group_by("tier", maintain_order=True).agg(
        names=pl.len().cast(pl.Int64),
        average_precision=pl.col("average_precision").mean(),
        chance=pl.col("chance").mean(),
        retrieved=pl.col("retrieved").mean(),
    )


def _tables(profiles: Profiles, path: Path, settings: PrecisionSettings) -> Tables:
    require_finite(profiles, path)
    inputs = (profiles, path, settings)
    parts = {"activity.csv": partial(measure_activity, *inputs)}
    require_mechanisms(*inputs)  # a file that cannot be used is an error, and no missing part
    if can_agree(profiles, settings):
        parts["agreement.csv"] = partial(measure_agreement, *inputs)
    elif settings.agree != settings.by:
        info(f"no agreement.csv: no {settings.agree} has two {settings.by}s")
    tables = compute_parts(parts)
    rows = [
        share_retrieved(table).select(_name_part(name), pl.all()) for name, table in tables.items()
    ]
    return {**tables, "retrieved.csv": pl.concat(rows)}


def _name_part(file: str) -> pl.Expr:
    return pl.lit(file.removesuffix(".csv")).alias("retrieval")


def _units(tables: Tables, settings: PrecisionSettings) -> dict[tuple[str, ...], UnitScores]:
    """Return the average precision of each perturbation, then of each gene, in each tier."""
    return {
        (retrieval, str(key["tier"])): unit_scores(rows, column, total=pl.col("average_precision"))
        for retrieval, column in (("activity", settings.by), ("agreement", settings.agree))
        if (table := tables.get(f"{retrieval}.csv")) is not None
        for key, rows in split_by(table, ["tier"])
    }


def _averaged(table: pl.DataFrame, settings: PrecisionSettings, path: Path) -> list[Codes]:
    """Return a code of its own for each well that is compared, and -1 for all others."""
    replicates = find_replicates(table, settings.by, path)
    return [np.where((replicates.groups >= 0) | replicates.control, np.arange(len(table)), -1)]


QUESTION = Question(
    name="replicates",
    help="""Do replicates retrieve each other? Mean average precision, as in copairs.

    Writes activity.csv (wells of a perturbation among controls), agreement.csv (perturbations of a
    gene among all others) if some gene has more than one, and retrieved.csv, which is printed. If
    one of the first two cannot be computed, the reason is logged. Raises ValueError if copairs is
    not installed, or neither can be computed.
    """,
    takes=(takes_wells(),),
    settings=PrecisionSettings,
    tables=_tables,
    printed="retrieved.csv",
    files=("mechanisms",),
    averaged=_averaged,
    score=Score("average_precision", _units, keys=("retrieval", "tier")),
)
