"""Does a perturbation have an effect? Consistency of replicates, and distance from controls.

Consistency is the mean cosine over all pairs of a perturbation's wells. Magnitude is the energy
distance between the perturbation's wells and control wells. Consistency and
magnitude are defined as in the public benchmark of Celik et al. 2024.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from cyclopts import Parameter
from jaxtyping import Float64

from phenomae import checks
from phenomae.evaluation.questions.magnitude import compare_magnitude
from phenomae.evaluation.questions.question import Question, Score, Tables, takes_wells
from phenomae.evaluation.questions.replicates import (
    Replicates,
    find_replicates,
    require_controls,
    require_replicates,
)
from phenomae.evaluation.questions.unexpressed import (
    Columns,
    compare_with_unexpressed,
    find_unexpressed,
)
from phenomae.evaluation.questions.unit_scores import UnitScores, unit_scores
from phenomae.evaluation.settings import check_level
from phenomae.maps.consistency import compare_with_controls
from phenomae.maps.null_checks import warn_centred
from phenomae.maps.unit_vectors import unit_wells
from phenomae.paths import PathLike
from phenomae.progress import info
from phenomae.wells import Profiles

Unit = Float64[np.ndarray, "n d"]


@Parameter(name="*")
@dataclass(frozen=True)
class SignalSettings:
    """Which wells are replicates, and how the null distribution is drawn."""

    by: Literal["perturbation", "gene", "guide", "compound"] = "perturbation"
    """Column with the names of replicates: wells with the same name are replicates."""
    min_wells: int = 5
    """Minimum number of wells for magnitude, which is empty for perturbations with fewer."""
    max_controls: int = 1000
    """Maximum number of control wells in the reference of magnitude, and in the pool of its null
    distribution; both are random subsets if there are more."""
    draws: int = 1000
    """Number of groups of control wells drawn for the null distribution; duplicates are removed."""
    unexpressed: PathLike | None = None
    """File with one name per line, of perturbations that should have no effect, such as genes that
    the cells do not express. These perturbations replace groups of controls as the null
    distribution."""
    level: float = 0.05
    """Significance level: a perturbation is active if its p-value is at most this level."""
    seed: int = 0
    """Seed of the random draws."""

    def __post_init__(self) -> None:
        checks.whole_numbers(self)
        checks.at_least("min_wells", self.min_wells, 2)
        checks.at_least("max_controls", self.max_controls, 2)
        checks.at_least("draws", self.draws, 1)
        checks.at_least("seed", self.seed, 0)
        check_level(self.level)


def measure_signal(
    profiles: Profiles, path: Path, settings: SignalSettings = SignalSettings()
) -> pl.DataFrame:
    """Compute consistency and magnitude of every perturbation: the rows of signal.csv.

    Columns: the name (its column is `settings.by`), wells, consistency, consistency_p, magnitude,
    magnitude_p. Values are null for perturbations with too few wells; p-values are also null for
    the perturbations that form the null distribution. `path` is named in errors.

    Raises ValueError if there are fewer than 2 * `min_wells` controls (`min_wells` controls with
    `unexpressed`), or no perturbation, or none listed in `unexpressed`, has `min_wells` wells.
    """
    replicates = find_replicates(profiles.table, settings.by, path)
    require_replicates(replicates, settings.min_wells, settings.by, path)
    # Controls are split into reference and null distribution, unless `unexpressed` is the null.
    halves = 2 if settings.unexpressed is None else 1
    require_controls(replicates, halves * settings.min_wells, path)
    unit = unit_wells(profiles.features, profiles.table, path)
    if settings.unexpressed is None:
        columns = _compare_with_controls(profiles, unit, replicates, settings)
    else:
        columns = _compare_with_unexpressed(profiles, unit, replicates, settings, path)
    names = {settings.by: replicates.names, "wells": replicates.wells}
    return pl.DataFrame(names | columns, nan_to_null=True)


def share_active(table: pl.DataFrame, level: float = 0.05) -> pl.DataFrame:
    """Return the fraction of active perturbations in the table of `measure_signal`, per measure.

    Columns: measure, perturbations (number of perturbations with a p-value), active (fraction with
    p <= level), active_bh (fraction with FDR-adjusted p <= level, Benjamini & Hochberg 1995).
    """
    from scipy.stats import false_discovery_control  # imported here: .6 s would delay --help

    rows: list[dict[str, str | int | float]] = []
    for measure in ("consistency", "magnitude"):
        p = table[f"{measure}_p"].drop_nulls().to_numpy()
        row: dict[str, str | int | float] = {"measure": measure, "perturbations": len(p)}
        if len(p):
            row["active"] = float((p <= level).mean())
            row["active_bh"] = float((false_discovery_control(p) <= level).mean())
        rows.append(row)
    columns = {"measure": pl.String(), "perturbations": pl.Int64()}
    return pl.DataFrame(rows, columns | dict.fromkeys(("active", "active_bh"), pl.Float64()))


def _compare_with_controls(
    profiles: Profiles, unit: Unit, replicates: Replicates, settings: SignalSettings
) -> Columns:
    plates = np.unique(profiles.table["plate"].to_numpy(), return_inverse=True)[1]
    groups = (replicates.groups, len(replicates.names), plates, replicates.control)
    warn_centred(profiles.features, plates, replicates.control)
    consistency = compare_with_controls(unit, *groups, draws=settings.draws, seed=settings.seed)
    magnitude = compare_magnitude(
        profiles.features,
        *groups,
        min_wells=settings.min_wells,
        max_controls=settings.max_controls,
        draws=settings.draws,
        seed=settings.seed,
    )
    for measure, loose in (("consistency", consistency.loose), ("magnitude", magnitude.loose)):
        if loose:
            info(
                f"{measure}: perturbations whose plates have too few controls, compared with "
                f"controls of any plate: {loose}"
            )
    return {
        "consistency": consistency.values,
        "consistency_p": consistency.p,
        "magnitude": magnitude.values,
        "magnitude_p": magnitude.p,
    }


def _compare_with_unexpressed(
    profiles: Profiles, unit: Unit, replicates: Replicates, settings: SignalSettings, path: Path
) -> Columns:
    assert settings.unexpressed is not None
    null = find_unexpressed(Path(settings.unexpressed), replicates, settings.min_wells, path)
    if (smallest := 1 / (null.sum() + 1)) > settings.level:
        info(
            f"the smallest p-value that {null.sum()} unexpressed names allow is {smallest:.2g}, "
            f"above level {settings.level}: list more names"
        )
    return compare_with_unexpressed(
        profiles.features,
        unit,
        replicates,
        null,
        min_wells=settings.min_wells,
        max_controls=settings.max_controls,
        seed=settings.seed,
    )


def _tables(profiles: Profiles, path: Path, settings: SignalSettings) -> Tables:
    table = measure_signal(profiles, path, settings)
    return {"signal.csv": table, "active.csv": share_active(table, settings.level)}


def _units(tables: Tables, settings: SignalSettings) -> dict[tuple[str, ...], UnitScores]:
    """Return whether each perturbation is active; consistency is last, as the line is of it."""
    table = tables["signal.csv"]
    units = {}
    for measure in ("magnitude", "consistency"):
        tested = table.drop_nulls(f"{measure}_p")
        if len(tested):
            active = pl.col(f"{measure}_p") <= settings.level
            units[(measure,)] = unit_scores(tested, settings.by, total=active)
    return units


QUESTION = Question(
    name="signal",
    help="""Does a perturbation have an effect? Consistency and magnitude, with p-values.

    Writes signal.csv, one row per perturbation, and active.csv, the fraction of active
    perturbations, which is printed. Raises ValueError if there are too few controls or replicates.
    """,
    takes=(takes_wells(),),
    settings=SignalSettings,
    tables=_tables,
    printed="active.csv",
    files=("unexpressed",),
    averaged=lambda table, settings, path: [np.arange(len(table))],
    score=Score("active", _units, keys=("measure",)),
)
