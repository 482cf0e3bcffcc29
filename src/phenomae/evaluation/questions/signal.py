"""Does a perturbation have an effect? Consistency of replicates, and distance from controls.

Consistency is the mean cosine over all pairs of a perturbation's wells. Magnitude is the energy
distance between the perturbation's wells and control wells. Consistency and
magnitude are defined as in the public benchmark of Celik et al. 2024.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from cyclopts import Parameter
from jaxtyping import Float64, Int

from phenomae import checks
from phenomae.evaluation.questions.magnitude import compare_magnitude
from phenomae.evaluation.questions.parts import compute_parts
from phenomae.evaluation.questions.question import Question, Score, Tables, takes_wells
from phenomae.evaluation.questions.replicates import (
    Replicates,
    find_replicates,
    require_controls,
    require_replicates,
)
from phenomae.evaluation.questions.unexpressed import (
    choose_null,
    consistency_with_unexpressed,
    find_unexpressed,
    magnitude_with_unexpressed,
    report_smallest_p,
)
from phenomae.evaluation.questions.unit_scores import UnitScores, unit_scores
from phenomae.evaluation.settings import check_level
from phenomae.maps.consistency import compare_with_controls
from phenomae.maps.control_groups import MIN_CONTROLS
from phenomae.maps.null_checks import warn_centred
from phenomae.maps.unit_vectors import unit_wells
from phenomae.paths import PathLike
from phenomae.progress import info
from phenomae.wells import Profiles, require_finite

Values = Float64[np.ndarray, " g"]
MEASURES = ("consistency", "magnitude")


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
    the perturbations that form the null distribution. If one of the two measures cannot be computed
    at all, its columns are null, and the reason is logged. `path` is named in errors.

    Consistency needs 2 wells of a perturbation, 2 controls (none with `unexpressed`) and profiles
    that are not 0; magnitude needs `min_wells` wells and 2 * `min_wells` controls (`min_wells` with
    `unexpressed`). Raises ValueError if neither can be computed.
    """
    replicates = find_replicates(profiles.table, settings.by, path)
    require_finite(profiles, path)
    inputs = (profiles, replicates, settings, path)
    found = compute_parts(
        {
            "consistency": partial(_measure_consistency, *inputs),
            "magnitude": partial(_measure_magnitude, *inputs),
        }
    )
    if settings.unexpressed is None:
        warn_centred(profiles.features, _plates(profiles), replicates.control)
    else:
        null = choose_null(replicates, settings.unexpressed, settings.min_wells, 2, path)
        report_smallest_p(null, settings.level)
    columns = {settings.by: replicates.names, "wells": replicates.wells}
    nothing = np.full(len(replicates.names), np.nan)
    for measure in MEASURES:
        columns[measure], columns[f"{measure}_p"] = found.get(measure, (nothing, nothing))
    return pl.DataFrame(columns, nan_to_null=True)


def share_active(table: pl.DataFrame, level: float = 0.05) -> pl.DataFrame:
    """Return the fraction of active perturbations in the table of `measure_signal`, per measure.

    Columns: measure, perturbations (number of perturbations with a p-value), active (fraction with
    p <= level), active_bh (fraction with FDR-adjusted p <= level, Benjamini & Hochberg 1995).
    """
    from scipy.stats import false_discovery_control  # imported here: .6 s would delay --help

    rows: list[dict[str, str | int | float]] = []
    for measure in MEASURES:
        p = table[f"{measure}_p"].drop_nulls().to_numpy()
        row: dict[str, str | int | float] = {"measure": measure, "perturbations": len(p)}
        if len(p):
            row["active"] = float((p <= level).mean())
            row["active_bh"] = float((false_discovery_control(p) <= level).mean())
        rows.append(row)
    columns = {"measure": pl.String(), "perturbations": pl.Int64()}
    return pl.DataFrame(rows, columns | dict.fromkeys(("active", "active_bh"), pl.Float64()))


def _measure_consistency(
    profiles: Profiles, replicates: Replicates, settings: SignalSettings, path: Path
) -> tuple[Values, Values]:
    """Return consistency and p-value of each perturbation; raises ValueError if there are none."""
    require_replicates(replicates, 2, settings.by, path)
    unit = unit_wells(profiles.features, profiles.table, path)
    if settings.unexpressed is not None:
        null = choose_null(replicates, settings.unexpressed, settings.min_wells, 2, path)
        return consistency_with_unexpressed(unit, replicates, null, settings.seed)
    require_controls(replicates, MIN_CONTROLS, path)
    found = compare_with_controls(
        unit,
        replicates.groups,
        len(replicates.names),
        _plates(profiles),
        replicates.control,
        draws=settings.draws,
        seed=settings.seed,
    )
    _report_loose("consistency", found.loose)
    return found.values, found.p


def _measure_magnitude(
    profiles: Profiles, replicates: Replicates, settings: SignalSettings, path: Path
) -> tuple[Values, Values]:
    """Return magnitude and p-value of each perturbation; raises ValueError if there are none."""
    remedy = "use more replicates, or a lower min_wells"
    require_replicates(replicates, settings.min_wells, settings.by, path, remedy)
    # Controls are split into reference and null distribution, unless `unexpressed` is the null.
    halves = 2 if settings.unexpressed is None else 1
    require_controls(replicates, halves * settings.min_wells, path)
    sizes = {"min_wells": settings.min_wells, "max_controls": settings.max_controls}
    if settings.unexpressed is not None:
        null = find_unexpressed(replicates, settings.unexpressed, settings.min_wells, path)
        return magnitude_with_unexpressed(
            profiles.features, replicates, null, **sizes, seed=settings.seed
        )
    found = compare_magnitude(
        profiles.features,
        replicates.groups,
        len(replicates.names),
        _plates(profiles),
        replicates.control,
        **sizes,
        draws=settings.draws,
        seed=settings.seed,
    )
    _report_loose("magnitude", found.loose)
    return found.values, found.p


def _plates(profiles: Profiles) -> Int[np.ndarray, " n"]:
    return np.unique(profiles.table["plate"].to_numpy(), return_inverse=True)[1]


def _report_loose(measure: str, count: int) -> None:
    if count:
        info(
            f"{measure}: perturbations whose plates have too few controls, compared with "
            f"controls of any plate: {count}"
        )


def _tables(profiles: Profiles, path: Path, settings: SignalSettings) -> Tables:
    table = measure_signal(profiles, path, settings)
    return {"signal.csv": table, "active.csv": share_active(table, settings.level)}


def _units(tables: Tables, settings: SignalSettings) -> dict[tuple[str, ...], UnitScores]:
    """Return whether each perturbation is active; consistency is last, as the line is of it."""
    table = tables["signal.csv"]
    units = {}
    for measure in reversed(MEASURES):
        tested = table.drop_nulls(f"{measure}_p")
        if len(tested):
            active = pl.col(f"{measure}_p") <= settings.level
            units[(measure,)] = unit_scores(tested, settings.by, total=active)
    return units


QUESTION = Question(
    name="signal",
    help="""Does a perturbation have an effect? Consistency and magnitude, with p-values.

    Writes signal.csv, one row per perturbation, and active.csv, the fraction of active
    perturbations, which is printed. If one of the two cannot be computed, the reason is logged and
    the other is reported. Raises ValueError if neither can.
    """,
    takes=(takes_wells(),),
    settings=SignalSettings,
    tables=_tables,
    printed="active.csv",
    files=("unexpressed",),
    averaged=lambda table, settings, path: [np.arange(len(table))],
    score=Score("active", _units, keys=("measure",)),
)
