"""Do replicates find each other before others: activity and agreement by mean average precision.

Kalinin et al. 2025 (Nature Communications 16, 5181): activity asks the wells of a perturbation
against control wells, agreement the perturbations of a gene, or of a mechanism, against all others.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from cyclopts import Parameter
from jaxtyping import Float64

from phenomae.evaluation.questions.compound_profiles import read_mechanisms
from phenomae.evaluation.questions.copairs_map import Question, mean_precisions
from phenomae.evaluation.questions.replicates import (
    find_replicates,
    require_controls,
    require_replicates,
)
from phenomae.evaluation.settings import check_level, check_seed
from phenomae.maps.aggregate import group_means
from phenomae.maps.unit_vectors import unit_wells
from phenomae.progress import info
from phenomae.wells import Profiles, require_finite

Column = Literal["perturbation", "gene", "guide", "compound"]


@Parameter(name="*")
@dataclass(frozen=True)
class PrecisionSettings:
    """Which wells should find each other, and among which others."""

    by: Column = "perturbation"
    """Wells with one name in this column are replicates."""
    plates: Literal["same", "any"] = "same"
    """Control wells that a well is ordered with: those of its own plate, or of all."""
    agree: Literal["gene", "compound", "mechanism"] = "gene"
    """Perturbations with one name in this column should agree."""
    mechanisms: Path | None = None
    """CSV file with the columns compound, mechanism, for --agree mechanism."""
    draws: int = 1000
    """Random orders drawn to say what chance gives."""
    level: float = 0.05
    """Retrieved is what has an adjusted p-value of at most this."""
    seed: int = 0
    """Of the draws."""

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if self.draws < 1:
            raise ValueError(f"draws must be 1 or more, not {self.draws}")
        check_level(self.level)
        if (self.agree == "mechanism") != (self.mechanisms is not None):
            raise ValueError("--mechanisms FILE and --agree mechanism go together: give both")


def measure_activity(
    screen: Profiles, source: Path, settings: PrecisionSettings = PrecisionSettings()
) -> pl.DataFrame:
    """Return how well the wells of each perturbation find each other among controls.

    Columns: the one named `by`, rows (wells that have replicates and controls), average_precision,
    chance (what a random order gives), p, p_adjusted, retrieved. Replicates may lie on any plate.

    Raises ValueError where no perturbation has two wells, none of them lies with controls, or a
    well has no cosine.
    """
    require_finite(screen, source)
    replicates = find_replicates(screen.table, settings.by, source)
    require_replicates(replicates, 2, settings.by, source)
    require_controls(replicates, 1, source)
    taken = (replicates.groups >= 0) | replicates.control
    plates = None
    if settings.plates == "same":
        plates = np.unique(screen.table["plate"].to_numpy(), return_inverse=True)[1][taken]
    question = Question(replicates.groups[taken], plates=plates)
    vectors = unit_wells(screen.features[taken], screen.table.filter(taken), source)
    table = mean_precisions(vectors, question, settings.draws, settings.seed)
    if table.is_empty():
        raise ValueError(
            f"{source}: no well with replicates lies on a plate with controls; --plates any takes "
            "the controls of all plates"
        )
    if left_out := len(replicates.names) - len(table):
        info(f"{settings.by}s without replicates that lie with controls, left out: {left_out}")
    return _name(table, settings.by, replicates.names, settings.level)


def measure_agreement(
    screen: Profiles, source: Path, settings: PrecisionSettings = PrecisionSettings()
) -> pl.DataFrame:
    """Return how well the perturbations of each gene (compound, mechanism) find each other.

    A perturbation is the mean of its wells. Columns as `measure_activity`, rows now perturbations.
    The doses of one compound do not count as finding a mechanism.

    Raises ValueError where a perturbation has two genes or no cosine, or no gene has two
    perturbations.
    """
    if settings.agree == settings.by:
        raise ValueError(
            f"--agree {settings.agree} and --by {settings.by} must be different columns"
        )
    require_finite(screen, source)
    replicates = find_replicates(screen.table, settings.by, source)
    inside = replicates.groups >= 0
    labels = _labels(screen.table.filter(inside), settings, source)
    features = screen.features[inside].astype(np.float64)
    means = group_means(features, replicates.groups[inside], len(replicates.names))
    named = pl.DataFrame({settings.by: replicates.names}).join(
        labels, on=settings.by, how="left", maintain_order="left"
    )
    kept = named["label"].is_not_null().to_numpy()
    _require_directions(means[kept], named[settings.by].filter(kept), source)
    names, codes = np.unique(named["label"].drop_nulls().to_numpy(), return_inverse=True)
    sources = None
    if settings.agree == "mechanism":
        sources = np.unique(named["compound"].to_numpy()[kept], return_inverse=True)[1]
    question = Question(codes, sources=sources, against="groups")
    table = mean_precisions(means[kept], question, settings.draws, settings.seed)
    if table.is_empty():
        raise ValueError(
            f"{source}: no {settings.agree} has two {settings.by}s beside others, so that none can "
            f"agree; choose another --by than {settings.by}, or another --agree"
        )
    return _name(table, settings.agree, names.tolist(), settings.level)


def can_agree(screen: Profiles, settings: PrecisionSettings) -> bool:
    """Say whether a gene (compound) has two perturbations, without which none can agree.

    True for mechanisms: what is wrong with their file is for `measure_agreement` to say.
    """
    if settings.agree == "mechanism":
        return True
    treated = screen.table.filter(~pl.col("control").fill_null(False))
    named = treated.select(label=settings.agree, name=settings.by)
    pairs = named.select(pl.all().replace("", None)).drop_nulls().unique()
    return bool(pairs["label"].is_duplicated().any())


def share_retrieved(table: pl.DataFrame) -> pl.DataFrame:
    """Return one row of means: names, average_precision, chance, retrieved (the share of names)."""
    return table.select(
        names=pl.len().cast(pl.Int64),
        average_precision=pl.col("average_precision").mean(),
        chance=pl.col("chance").mean(),
        retrieved=pl.col("retrieved").mean(),
    )


def _labels(table: pl.DataFrame, settings: PrecisionSettings, source: Path) -> pl.DataFrame:
    """Return what each perturbation should agree by: columns `by`, compound, label."""
    by, compound = settings.by, pl.col("compound").replace("", None)
    if settings.agree == "mechanism":
        assert settings.mechanisms is not None
        known = read_mechanisms(settings.mechanisms).rename({"mechanism": "label"})
        wells = pl.DataFrame({by: table[by], "compound": table.select(compound)["compound"]})
        labels = wells.join(known, on="compound").unique()
        if labels.is_empty():
            raise ValueError(f"{settings.mechanisms}: none of its compounds is on {source}")
    else:
        label = pl.col(settings.agree).replace("", None).alias("label")
        wells = pl.DataFrame({by: table[by], "label": table.select(label)["label"]})
        labels = wells.drop_nulls().unique()
    if twice := labels.filter(labels[by].is_duplicated()).sort(by)[by].to_list():
        raise ValueError(
            f"{source}: the {by} {twice[0]!r} has wells of two of what it should agree by "
            f"(--agree {settings.agree}); choose another --by"
        )
    return labels


def _require_directions(means: Float64[np.ndarray, "g d"], names: pl.Series, source: Path) -> None:
    """Raise ValueError where a perturbation is 0 in the mean: copairs would find it perfectly."""
    if empty := [name for name, mean in zip(names, means, strict=True) if not mean.any()]:
        raise ValueError(
            f"{source}: the wells of {empty[0]} are 0 in the mean, which has no direction: leave "
            "them out"
        )


def _name(table: pl.DataFrame, column: str, names: list[str], level: float) -> pl.DataFrame:
    """Return the table with names in place of codes, and whether each was retrieved."""
    named = pl.Series(column, [names[code] for code in table["code"]], dtype=pl.String)
    return table.with_columns(named, retrieved=pl.col("p_adjusted") <= level).select(
        column, pl.exclude("code", column)
    )
