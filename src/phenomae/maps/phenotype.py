"""Keeps the rows of a map with a phenotype: wells more consistent than the null distribution.

The filter is copairs' phenotypic activity, with p-values that are not adjusted for the number of
rows.
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
    """Columns consistency and consistency_p; null for rows without a value."""
    kept: Bool[np.ndarray, " g"]


def find_phenotypes(
    profiles: Profiles,
    named: pl.DataFrame,
    settings: MapSettings,
    unexpressed: list[str],
    source: Path,
) -> Phenotypes:
    """Return consistency and p-value of each row of the map, and which rows are kept.

    `named` has the wells of `profiles` with the column `name`. Rows of controls are always kept.
    The number of kept rows is logged. Raises ValueError if a well of the map is all 0, if there is
    no null distribution, or if no row is kept.
    """
    assert settings.phenotype is not None
    names = named["name"].drop_nulls().unique().sort()
    code = {name: index for index, name in enumerate(names)}
    groups = np.array([-1 if name is None else code[name] for name in named["name"]])
    control = named["control"].to_numpy()
    # Wells that are neither on the map nor controls may be all 0, because they are not compared.
    unit = unit_wells(profiles.features, profiles.table, source, (groups >= 0) | control)
    if unexpressed:
        found = _compare_with_unexpressed(unit, groups, names, unexpressed, settings)
    else:
        warn_centred(profiles.features, named["plate"].to_numpy(), control)
        found = _compare_with_controls(unit, groups, len(names), named, settings, source)
    treated = np.bincount(groups[(groups >= 0) & ~control], minlength=len(names)) > 0
    # Rows of controls have no p-value, and are on the map only if the user asked for controls.
    kept = ~treated | _is_kept(found.p, treated, settings.phenotype, source)
    table = {"consistency": found.values, "consistency_p": found.p}
    return Phenotypes(names, pl.DataFrame(table).fill_nan(None), kept)


def read_unexpressed(path: PathLike | None) -> list[str]:
    """Return the sorted names in a text file with one name per line; none if `path` is None.

    Raises ValueError if the file cannot be read or has no name.
    """
    if path is None:
        return []
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise ValueError(
            f"unexpressed {path} is not a readable text file: expected one gene per line"
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
    """Return consistencies with p-values among groups of control wells.

    Logs the number of rows whose distribution over plates the controls cannot match.
    """
    plates, control = named["plate"].to_numpy(), named["control"].to_numpy()
    if control.sum() < MIN_CONTROLS:
        raise ValueError(
            f"phenotype needs control wells, but {source} has {control.sum()}: set "
            f"`control` to true for {MIN_CONTROLS} wells or more, or name genes that are not "
            "expressed with the setting unexpressed"
        )
    random = {"draws": settings.draws, "seed": settings.seed}
    found = compare_with_controls(unit, groups, count, plates, control, **random)
    if found.loose:
        info(
            f"{found.loose} rows have more wells on a plate, or wells on more plates, than "
            "controls can match: these rows are compared with groups of any controls"
        )
    return found


def _compare_with_unexpressed(
    unit: Float64[np.ndarray, "n d"],
    groups: Int[np.ndarray, " n"],
    names: pl.Series,
    unexpressed: list[str],
    settings: MapSettings,
) -> Consistency:
    """Return consistencies with p-values among the consistencies of unexpressed genes."""
    values = mean_cosines(unit, groups, len(names))
    null = values[names.is_in(unexpressed).to_numpy()]
    known = int((~np.isnan(null)).sum())
    if not known:
        raise ValueError(
            f"unexpressed {settings.unexpressed}: the file names no row of the map that has 2 "
            f"wells or more; the map has names like {', '.join(names[:3])}"
        )
    info(f"rows are compared with {known} rows of unexpressed genes")
    return Consistency(values, p_values(values, null), loose=0)


def _is_kept(
    p: Float64[np.ndarray, " g"], treated: Bool[np.ndarray, " g"], max_p: float, source: Path
) -> Bool[np.ndarray, " g"]:
    """Return which treated rows have p <= `max_p`; a `max_p` of 1 also keeps rows without p."""
    untested = treated & np.isnan(p)
    kept = treated & ((p <= max_p) | (max_p == 1))
    if not kept.any():
        smallest = np.min(p, where=treated & ~untested, initial=np.inf)
        reason = f"the smallest p-value is {smallest:.3g}"
        if untested.sum() == treated.sum():
            reason = "no row has the 2 wells that a p-value needs"
        raise ValueError(
            f"phenotype {max_p:g} leaves no row of {source}: {reason}; raise or omit phenotype"
        )
    single = f"; {untested.sum()} have fewer than 2 wells and no p-value" if untested.any() else ""
    info(f"{kept.sum()} of {treated.sum()} rows are kept by phenotype {max_p:g}{single}")
    return kept
