"""Do the perturbations of a gene, compound or mechanism retrieve each other?

Called phenotypic consistency by Kalinin et al. 2025 (Nature Communications 16, 5181).
"""

from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Float64

from phenomae.evaluation.questions.compound_profiles import (
    join_mechanisms,
    list_members,
    read_mechanisms,
)
from phenomae.evaluation.questions.copairs_map import mean_precisions
from phenomae.evaluation.questions.pairing import Codes, Pairing
from phenomae.evaluation.questions.parts import compute_parts, name_tier
from phenomae.evaluation.questions.precision_settings import PrecisionSettings, name_rows
from phenomae.evaluation.questions.replicates import find_replicates
from phenomae.evaluation.recall.tiers import TierName
from phenomae.evaluation.tier_groups import tier_groups
from phenomae.maps.aggregate import group_means
from phenomae.wells import Profiles, require_finite


def measure_agreement(
    profiles: Profiles, path: Path, settings: PrecisionSettings = PrecisionSettings()
) -> pl.DataFrame:
    """Compute the mAP of the perturbations of each gene, compound or mechanism among all others.

    This is copairs' phenotypic consistency. A perturbation is the mean profile of its wells; in a
    tier other than any, of its wells on each plate (batch, position), which are not positives of
    each other. The columns are those of `measure_activity`, where `rows` counts these profiles. For
    mechanisms, the doses of one compound are not positives of each other.

    A tier that leaves no pair has no row, and the reason is logged. Raises ValueError if a
    perturbation has two genes or a mean profile of zero, no gene has two perturbations (likewise
    for compounds and mechanisms), or no tier has a pair.
    """
    if settings.agree == settings.by:
        raise ValueError(f"agree and by must be different columns, not both {settings.by}")
    require_finite(profiles, path)
    replicates = find_replicates(profiles.table, settings.by, path)
    table = profiles.table.filter(replicates.groups >= 0)
    named = pl.DataFrame({settings.by: replicates.names}).join(
        _labels(table, settings, path), on=settings.by, how="left", maintain_order="left"
    )
    # Means in float64, because sums over many wells in float32 lose digits.
    features = profiles.features[replicates.groups >= 0].astype(np.float64)
    groups = replicates.groups[replicates.groups >= 0]
    found = compute_parts(
        {
            tier: partial(_agreement, features, groups, table, named, tier, path, settings)
            for tier in settings.tiers
        },
        name_tier,
    )
    return pl.concat(found.values())


def _agreement(
    features: Float64[np.ndarray, "k d"],
    groups: Codes,
    table: pl.DataFrame,
    named: pl.DataFrame,
    tier: TierName,
    path: Path,
    settings: PrecisionSettings,
) -> pl.DataFrame:
    """Return the rows of agreement.csv for a tier.

    `groups` has the perturbation of each well of `table`; `named` has the label of each
    perturbation and, for mechanisms, its compound.
    """
    apart = tier_groups(table, tier, path)
    keys = np.column_stack([groups, np.zeros_like(groups) if apart is None else apart])
    distinct, profile_of = np.unique(keys, axis=0, return_inverse=True)
    means = group_means(features, profile_of, len(distinct))
    named = named[distinct[:, 0]]
    kept = named["label"].is_not_null().to_numpy()
    _require_nonzero(means[kept], named[settings.by].filter(kept), path)
    names, codes = np.unique(named["label"].drop_nulls().to_numpy(), return_inverse=True)
    members = None
    if settings.agree == "mechanism":
        names, of_names = list_members(names.tolist())
        # Any of its mechanisms stands for a compound of several, which `members` lists.
        codes, members = of_names.argmax(axis=1)[codes], of_names[codes]
        if (members.sum(axis=1) == 1).all():
            members = None
    source = "compound" if settings.agree == "mechanism" else settings.by
    sources = np.unique(named[source].to_numpy()[kept], return_inverse=True)[1]
    pairing = Pairing(
        codes,
        sources,
        apart=None if apart is None else distinct[kept, 1],
        against="groups",
        members=members,
    )
    found = mean_precisions(means[kept], pairing, settings.draws, settings.seed)
    if found.is_empty():
        raise ValueError(
            f"{path}: no {settings.agree} has two {settings.by}s and other {settings.by}s to rank "
            f"them with{'' if tier == 'any' else f' in tier {tier}'}; set by to another column "
            f"than {settings.by}, or set another agree"
        )
    return name_rows(found, tier, settings.agree, list(names), settings.level)


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


def require_mechanisms(profiles: Profiles, path: Path, settings: PrecisionSettings) -> None:
    """Raise ValueError if `agree` is mechanism and the file of mechanisms cannot be used."""
    if settings.agree == "mechanism":
        replicates = find_replicates(profiles.table, settings.by, path)
        _labels(profiles.table.filter(replicates.groups >= 0), settings, path)


def _labels(table: pl.DataFrame, settings: PrecisionSettings, path: Path) -> pl.DataFrame:
    """Return the gene, compound or mechanism of each perturbation: columns `by` and label.

    If `settings.agree` is mechanism, the table has the column compound too.
    """
    by, compound = settings.by, pl.col("compound").replace("", None)
    if settings.agree == "mechanism":
        assert settings.mechanisms is not None
        known = join_mechanisms(read_mechanisms(Path(settings.mechanisms)))
        known = known.rename({"mechanism": "label"})
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
            f"{path}: the mean of the wells of {zero[0]} is zero, so it has no cosine: correct the "
            "features first (phenomae correct), or remove them"
        )
