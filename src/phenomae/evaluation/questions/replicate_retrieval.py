"""Do replicates retrieve each other? Phenotypic activity and consistency by mAP, as in copairs.

Kalinin et al. 2025 (Nature Communications 16, 5181) define phenotypic activity and consistency.
Phenotypic activity ranks the replicate wells of a perturbation among control wells. Phenotypic
consistency, called agreement here, ranks the perturbations of a gene, compound or mechanism among
all other perturbations.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from cyclopts import Parameter
from jaxtyping import Float64

from phenomae import checks
from phenomae.evaluation.questions.compound_profiles import read_mechanisms
from phenomae.evaluation.questions.copairs_map import Pairing, mean_precisions
from phenomae.evaluation.questions.question import Question, Score, Tables, takes_wells
from phenomae.evaluation.questions.replicates import (
    find_replicates,
    require_controls,
    require_replicates,
)
from phenomae.evaluation.questions.unit_scores import UnitScores, unit_scores
from phenomae.evaluation.settings import check_level
from phenomae.maps.aggregate import group_means
from phenomae.maps.unit_vectors import unit_wells
from phenomae.paths import PathLike
from phenomae.progress import info
from phenomae.wells import Profiles, require_finite

Column = Literal["perturbation", "gene", "guide", "compound"]


@Parameter(name="*")
@dataclass(frozen=True)
class PrecisionSettings:
    """Which wells are replicates, which perturbations should agree, and the p-values."""

    by: Column = "perturbation"
    """Column with the names of replicates: wells with the same name are replicates."""
    plates: Literal["same", "any"] = "same"
    """Controls among which a well ranks its replicates: those of its plate, or of any plate."""
    agree: Literal["gene", "compound", "mechanism"] = "gene"
    """Column of agreement: perturbations with the same name in this column are positives."""
    mechanisms: PathLike | None = None
    """CSV file with the columns compound, mechanism; required if agree is mechanism."""
    draws: int = 1000
    """Number of random rankings in the null distribution."""
    level: float = 0.05
    """Significance level: a name is retrieved if its FDR-adjusted p-value is at most this level."""
    seed: int = 0
    """Seed of the random rankings."""

    def __post_init__(self) -> None:
        checks.at_least("draws", self.draws, 1)
        checks.at_least("seed", self.seed, 0)
        check_level(self.level)
        if self.agree == "mechanism" and self.mechanisms is None:
            raise ValueError("agree mechanism needs mechanisms: name a file, or set another agree")
        if self.agree != "mechanism" and self.mechanisms is not None:
            raise ValueError(
                "mechanisms needs agree mechanism: set agree to mechanism, or leave mechanisms out"
            )


def measure_activity(
    profiles: Profiles, path: Path, settings: PrecisionSettings = PrecisionSettings()
) -> pl.DataFrame:
    """Compute the mAP of each perturbation's wells among controls (phenotypic activity).

    Columns: the name (its column is `settings.by`), rows (wells that have replicates and controls),
    average_precision, chance (expected value of a random ranking), p, p_adjusted, retrieved.
    The replicates of a well may be on any plate. `path` is named in errors.

    Raises ValueError if no perturbation has two wells, no well with replicates is on a plate with
    controls, or a profile is NaN or zero.
    """
    require_finite(profiles, path)
    replicates = find_replicates(profiles.table, settings.by, path)
    require_replicates(replicates, 2, settings.by, path)
    require_controls(replicates, 1, path)
    # Treated wells without a name are neither positives nor negatives.
    used = (replicates.groups >= 0) | replicates.control
    plates = None
    if settings.plates == "same":
        plates = np.unique(profiles.table["plate"].to_numpy(), return_inverse=True)[1][used]
    pairing = Pairing(replicates.groups[used], plates=plates)
    # copairs would rank the NaN cosines of a zero profile first, so such profiles raise an error.
    vectors = unit_wells(profiles.features[used], profiles.table.filter(used), path)
    table = mean_precisions(vectors, pairing, settings.draws, settings.seed)
    if table.is_empty():
        raise ValueError(
            f"{path}: no well with replicates is on a plate with controls; set plates to any to "
            "use the controls of all plates"
        )
    if left_out := len(replicates.names) - len(table):
        info(f"{settings.by}s left out, without replicates or controls on their plates: {left_out}")
    return _name(table, settings.by, replicates.names, settings.level)


def measure_agreement(
    profiles: Profiles, path: Path, settings: PrecisionSettings = PrecisionSettings()
) -> pl.DataFrame:
    """Compute the mAP of the perturbations of each gene, compound or mechanism among all others.

    This is copairs' phenotypic consistency. A perturbation is the mean profile of its wells. The
    columns are those of `measure_activity`, where `rows` counts perturbations. For mechanisms, the
    doses of one compound are not positives of each other.

    Raises ValueError if a perturbation has two genes or a mean profile of zero, or no gene has two
    perturbations (likewise for compounds and mechanisms).
    """
    if settings.agree == settings.by:
        raise ValueError(f"agree and by must be different columns, not both {settings.by}")
    require_finite(profiles, path)
    replicates = find_replicates(profiles.table, settings.by, path)
    inside = replicates.groups >= 0
    labels = _labels(profiles.table.filter(inside), settings, path)
    # Means in float64, because sums over many wells in float32 lose digits.
    features = profiles.features[inside].astype(np.float64)
    means = group_means(features, replicates.groups[inside], len(replicates.names))
    named = pl.DataFrame({settings.by: replicates.names}).join(
        labels, on=settings.by, how="left", maintain_order="left"
    )
    kept = named["label"].is_not_null().to_numpy()
    _require_nonzero(means[kept], named[settings.by].filter(kept), path)
    names, codes = np.unique(named["label"].drop_nulls().to_numpy(), return_inverse=True)
    sources = None
    if settings.agree == "mechanism":
        sources = np.unique(named["compound"].to_numpy()[kept], return_inverse=True)[1]
    pairing = Pairing(codes, sources=sources, against="groups")
    table = mean_precisions(means[kept], pairing, settings.draws, settings.seed)
    if table.is_empty():
        raise ValueError(
            f"{path}: no {settings.agree} has two {settings.by}s and other {settings.by}s to rank "
            f"them with; set by to another column than {settings.by}, or set another agree"
        )
    return _name(table, settings.agree, names.tolist(), settings.level)


def can_agree(profiles: Profiles, settings: PrecisionSettings) -> bool:
    """Return whether some gene (or compound) has at least two perturbations.

    `measure_agreement` would raise otherwise. Always True if `agree` is mechanism, so that
    `measure_agreement` reports errors in the file of mechanisms.
    """
    if settings.agree == "mechanism":
        return True
    # Empty cells are read as "" from some plate maps and as null from others.
    treated = profiles.table.filter(~pl.col("control").fill_null(False))
    named = treated.select(label=settings.agree, name=settings.by)
    pairs = named.select(pl.all().replace("", None)).drop_nulls().unique()
    return bool(pairs["label"].is_duplicated().any())


def share_retrieved(table: pl.DataFrame) -> pl.DataFrame:
    """Return one row: number of names, mean average_precision and chance, fraction retrieved."""
    return table.select(
        names=pl.len().cast(pl.Int64),
        average_precision=pl.col("average_precision").mean(),
        chance=pl.col("chance").mean(),
        retrieved=pl.col("retrieved").mean(),
    )


def _labels(table: pl.DataFrame, settings: PrecisionSettings, path: Path) -> pl.DataFrame:
    """Return the gene, compound or mechanism of each perturbation: columns `by` and label.

    If `settings.agree` is mechanism, the table has the column compound too.
    """
    by, compound = settings.by, pl.col("compound").replace("", None)
    if settings.agree == "mechanism":
        assert settings.mechanisms is not None
        known = read_mechanisms(Path(settings.mechanisms)).rename({"mechanism": "label"})
        wells = pl.DataFrame({by: table[by], "compound": table.select(compound)["compound"]})
        labels = wells.join(known, on="compound").unique()
        if labels.is_empty():
            raise ValueError(f"{settings.mechanisms}: none of its compounds is in {path}")
    else:
        label = pl.col(settings.agree).replace("", None).alias("label")
        wells = pl.DataFrame({by: table[by], "label": table.select(label)["label"]})
        labels = wells.drop_nulls().unique()
    if repeated := labels.filter(labels[by].is_duplicated()).sort(by)[by].to_list():
        raise ValueError(
            f"{path}: the {by} {repeated[0]!r} has wells with two values of {settings.agree}, the "
            "column of agree; set by to another column"
        )
    return labels


def _require_nonzero(means: Float64[np.ndarray, "g d"], names: pl.Series, path: Path) -> None:
    """Raise ValueError if a mean profile is zero, whose NaN cosines copairs would rank first."""
    if zero := [name for name, mean in zip(names, means, strict=True) if not mean.any()]:
        raise ValueError(
            f"{path}: the mean of the wells of {zero[0]} is zero, so it has no cosine: remove them"
        )


def _name(table: pl.DataFrame, column: str, names: list[str], level: float) -> pl.DataFrame:
    """Replace the column of codes by names, and add the column retrieved."""
    named = pl.Series(column, [names[code] for code in table["code"]], dtype=pl.String)
    return table.with_columns(named, retrieved=pl.col("p_adjusted") <= level).select(
        column, pl.exclude("code", column)
    )


def _tables(profiles: Profiles, path: Path, settings: PrecisionSettings) -> Tables:
    tables = {"activity.csv": measure_activity(profiles, path, settings)}
    if can_agree(profiles, settings):
        tables["agreement.csv"] = measure_agreement(profiles, path, settings)
    elif settings.agree != settings.by:
        info(f"no agreement.csv: no {settings.agree} has two {settings.by}s")
    rows = [
        share_retrieved(table).select(pl.lit(name.removesuffix(".csv")).alias("asked"), pl.all())
        for name, table in tables.items()
    ]
    return {**tables, "retrieved.csv": pl.concat(rows)}


def _units(tables: Tables, settings: PrecisionSettings) -> dict[tuple[str, ...], UnitScores]:
    """Return the average precision of each name, with its column first in the tables."""
    return {
        (name.removesuffix(".csv"),): unit_scores(
            table, table.columns[0], total=pl.col("average_precision")
        )
        for name, table in tables.items()
        if name in ("activity.csv", "agreement.csv")
    }


QUESTION = Question(
    name="replicates",
    help="""Do replicates retrieve each other? Mean average precision, computed by copairs.

    Writes activity.csv (wells of a perturbation among controls), agreement.csv (perturbations of a
    gene among all others) if some gene has more than one, and retrieved.csv, which is printed.
    Raises ValueError if copairs is not installed, or there are no replicates or no controls.
    """,
    takes=(takes_wells(),),
    settings=PrecisionSettings,
    tables=_tables,
    printed="retrieved.csv",
    files=("mechanisms",),
    score=Score("average_precision", _units, keys=("asked",)),
)
