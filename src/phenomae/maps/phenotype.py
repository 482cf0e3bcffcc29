"""Keeps the rows of a map with a phenotype: wells more consistent than the null distribution.

This is copairs' phenotypic activity as a filter, with p-values that are not adjusted for the number
of rows.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Bool, Float64, Int

from phenomae.maps.consistency import Consistency, compare_with_controls, mean_cosines
from phenomae.maps.control_groups import MIN_CONTROLS
from phenomae.maps.null_checks import warn_centred
from phenomae.maps.p_values import p_values
from phenomae.maps.settings import MapSettings
from phenomae.maps.unit_vectors import unit_wells
from phenomae.paths import PathLike
from phenomae.progress import info
from phenomae.wells import Profiles


@dataclass(frozen=True)
class Phenotypes:
    """Consistency and p-value of each row of a map, sorted by name."""

    names: pl.Series
    table: pl.DataFrame
    """Columns consistency, consistency_p; null if there is none."""
    kept: Bool[np.ndarray, " g"]


def find_phenotypes(
    profiles: Profiles,
    named: pl.DataFrame,
    settings: MapSettings,
    unexpressed: list[str],
    source: Path,
) -> Phenotypes:
    """Return consistency and p-value of each row of the map, and which are kept; log how many.

    `named` holds the wells of `profiles` with the column `name`. Rows of controls are always kept.
    Raises ValueError, naming `source`, if wells have no cosine, there is nothing to compare with,
    or no row is kept.
    """
    assert settings.phenotype is not None
    names = named["name"].drop_nulls().unique().sort()
    code = {name: index for index, name in enumerate(names)}
    groups = np.array([-1 if name is None else code[name] for name in named["name"]])
    control = named["control"].to_numpy()
    # Wells that are neither on the map nor controls may be all 0; nobody compares them.
    unit = unit_wells(profiles.features, profiles.table, source, (groups >= 0) | control)
    if unexpressed:
        found = _compare_with_unexpressed(unit, groups, names, unexpressed, settings)
    else:
        warn_centred(profiles.features, named["plate"].to_numpy(), control)
        found = _compare_with_controls(unit, groups, len(names), named, settings, source)
    treated = np.bincount(groups[(groups >= 0) & ~control], minlength=len(names)) > 0
    kept = ~treated | _is_kept(found.p, treated, settings.phenotype, source)
    table = {"consistency": found.values, "consistency_p": found.p}
    return Phenotypes(names, pl.DataFrame(table).fill_nan(None), kept)


def read_unexpressed(path: PathLike | None) -> list[str]:
    """Return the names in a text file, one per line, sorted; raises ValueError if it has none."""
    if path is None:
        return []
    try:
        lines = Path(path).read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        raise ValueError(
            f"unexpressed {path} is no text file that can be read: expected one gene per line"
        ) from None
    names = sorted({line.strip() for line in lines} - {""})
    if not names:
        raise ValueError(f"unexpressed {path} holds no name: expected one gene per line")
    return names


def _compare_with_controls(
    unit: Float64[np.ndarray, "n d"],
    groups: Int[np.ndarray, " n"],
    count: int,
    named: pl.DataFrame,
    settings: MapSettings,
    source: Path,
) -> Consistency:
    """Return p-values among groups of control wells; log how many rows no group can match."""
    plates, control = named["plate"].to_numpy(), named["control"].to_numpy()
    if control.sum() < MIN_CONTROLS:
        raise ValueError(
            f"phenotype compares with control wells, and {source} has {control.sum()}: set "
            f"`control` to true for {MIN_CONTROLS} wells or more, or name genes that are not "
            "expressed with the setting unexpressed"
        )
    random = {"draws": settings.draws, "seed": settings.seed}
    found = compare_with_controls(unit, groups, count, plates, control, **random)
    if found.loose:
        info(
            f"{found.loose} rows have more wells on a plate, or wells on more plates, than "
            "controls can match: they are compared with groups of any controls"
        )
    return found


def _compare_with_unexpressed(
    unit: Float64[np.ndarray, "n d"],
    groups: Int[np.ndarray, " n"],
    names: pl.Series,
    unexpressed: list[str],
    settings: MapSettings,
) -> Consistency:
    """Return p-values among the consistencies of genes that the cells do not express."""
    values = mean_cosines(unit, groups, len(names))
    null = values[names.is_in(unexpressed).to_numpy()]
    known = int((~np.isnan(null)).sum())
    if not known:
        raise ValueError(
            f"unexpressed {settings.unexpressed}: no row of the map with 2 wells or more is "
            f"named there; the map holds names like {', '.join(names[:3])}"
        )
    info(f"rows are compared with {known} rows of unexpressed genes")
    return Consistency(values, p_values(values, null), loose=0)


def _is_kept(
    p: Float64[np.ndarray, " g"], treated: Bool[np.ndarray, " g"], max_p: float, source: Path
) -> Bool[np.ndarray, " g"]:
    """Return which treated rows have a phenotype; a `max_p` of 1 also keeps those without p."""
    untested = treated & np.isnan(p)
    kept = treated & ((p <= max_p) | (max_p == 1))
    if not kept.any():
        smallest = np.min(p, where=treated & ~untested, initial=np.inf)
        reason = f"the smallest p-value is {smallest:.3g}"
        if untested.sum() == treated.sum():
            reason = "no row has the 2 wells that a p-value needs"
        raise ValueError(
            f"phenotype {max_p:g} leaves nothing of {source}: {reason}; raise it, or map without it"
        )
    single = f"; {untested.sum()} have fewer than 2 wells and no p-value" if untested.any() else ""
    info(f"{kept.sum()} of {treated.sum()} rows are kept by phenotype {max_p:g}{single}")
    return kept
