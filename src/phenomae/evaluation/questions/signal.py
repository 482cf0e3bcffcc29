"""Does a perturbation do anything: its wells beside each other, and beside control wells.

Consistency is the mean cosine over all pairs of a perturbation's wells, magnitude the energy
distance from its wells to control wells (Celik et al. 2024, whose public benchmark counts so).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from cyclopts import Parameter
from jaxtyping import Float64
from scipy.stats import false_discovery_control

from phenomae.evaluation.questions.magnitude import compare_magnitude
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
from phenomae.evaluation.settings import check_level, check_seed
from phenomae.maps.consistency import compare_with_controls
from phenomae.maps.null_checks import tell_centered
from phenomae.maps.unit_vectors import unit_wells
from phenomae.progress import info
from phenomae.wells import Profiles

Unit = Float64[np.ndarray, "n d"]


@Parameter(name="*")
@dataclass(frozen=True)
class SignalSettings:
    """Which wells are asked whether their perturbation does anything, and what chance is."""

    by: Literal["perturbation", "gene", "guide", "compound"] = "perturbation"
    """Wells with one name in this column are replicates."""
    least_wells: int = 5
    """A perturbation of fewer wells has no magnitude."""
    most_controls: int = 1000
    """Most control wells that magnitude is measured from, and most that its chance is drawn of."""
    draws: int = 1000
    """Groups of control wells drawn to say what chance gives."""
    unexpressed: Path | None = None
    """File of names, one a line, whose perturbation should do nothing: genes that these cells do
    not express. They then say what chance gives, instead of groups of controls."""
    level: float = 0.05
    """A perturbation is active where its p-value is at most this."""
    seed: int = 0
    """Of the draws."""

    def __post_init__(self) -> None:
        check_seed(self.seed)
        for name, least in (("least_wells", 2), ("most_controls", 2), ("draws", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be {least} or more, not {getattr(self, name)}")
        check_level(self.level)


def measure_signal(
    screen: Profiles, source: Path, settings: SignalSettings = SignalSettings()
) -> pl.DataFrame:
    """Return consistency and magnitude of every perturbation: the rows of signal.csv.

    Columns: the one named `by`, wells, consistency, consistency_p, magnitude, magnitude_p. Empty is
    what a perturbation has too few wells for, and the p-values of what says what chance gives.
    `source` is named in errors.

    Raises ValueError where there are fewer controls than two groups of `least_wells` (one, with
    `unexpressed`), no perturbation has so many wells, or `unexpressed` names none that has.
    """
    replicates = find_replicates(screen.table, settings.by, source)
    require_replicates(replicates, settings.least_wells, settings.by, source)
    halves = 2 if settings.unexpressed is None else 1
    require_controls(replicates, halves * settings.least_wells, source)
    unit = unit_wells(screen.features, screen.table, source)
    if settings.unexpressed is None:
        columns = _beside_controls(screen, unit, replicates, settings)
    else:
        columns = _beside_unexpressed(screen, unit, replicates, settings, source)
    names = {settings.by: replicates.names, "wells": replicates.wells}
    return pl.DataFrame(names | columns, nan_to_null=True)


def share_active(table: pl.DataFrame, level: float = 0.05) -> pl.DataFrame:
    """Return what share of the perturbations of `measure_signal` is active, a row a measure.

    Columns: measure, perturbations (that have a p-value), active (p <= level), active_bh (the same
    once p-values are adjusted for their number, Benjamini & Hochberg 1995).
    """
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


def _beside_controls(
    screen: Profiles, unit: Unit, replicates: Replicates, settings: SignalSettings
) -> Columns:
    plates = np.unique(screen.table["plate"].to_numpy(), return_inverse=True)[1]
    where = (replicates.groups, len(replicates.names), plates, replicates.control)
    drawn = {"draws": settings.draws, "seed": settings.seed}
    tell_centered(screen.features, plates, replicates.control)
    consistency = compare_with_controls(unit, *where, **drawn)
    magnitude = compare_magnitude(
        screen.features,
        *where,
        least_wells=settings.least_wells,
        most_controls=settings.most_controls,
        **drawn,
    )
    for measure, loose in (("consistency", consistency.loose), ("magnitude", magnitude.loose)):
        if loose:
            info(
                f"{measure}: {loose} perturbations lie on plates as no controls do, and are "
                "compared with controls of any plate"
            )
    return {
        "consistency": consistency.values,
        "consistency_p": consistency.p,
        "magnitude": magnitude.values,
        "magnitude_p": magnitude.p,
    }


def _beside_unexpressed(
    screen: Profiles, unit: Unit, replicates: Replicates, settings: SignalSettings, source: Path
) -> Columns:
    assert settings.unexpressed is not None
    null = find_unexpressed(settings.unexpressed, replicates, settings.least_wells, source)
    if (smallest := 1 / (null.sum() + 1)) > settings.level:
        info(f"{null.sum()} unexpressed names give no p-value below {smallest:.2g}: name more")
    return compare_with_unexpressed(
        screen.features,
        unit,
        replicates,
        null,
        least_wells=settings.least_wells,
        most_controls=settings.most_controls,
        seed=settings.seed,
    )
