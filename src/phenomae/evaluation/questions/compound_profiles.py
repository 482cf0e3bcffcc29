"""One vector a compound, concentration and batch, of the compounds whose mechanism is known."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Float64, Int

from phenomae.evaluation.csv_lists import read_listed
from phenomae.evaluation.questions.neighbours import Codes
from phenomae.maps.unit_vectors import unit_rows
from phenomae.progress import info
from phenomae.wells import Profiles, require_finite

COLUMNS = ("compound", "mechanism")
_KEYS = ("compound", "concentration_um", "batch")


@dataclass(frozen=True)
class CompoundProfiles:
    """The means of the wells of each compound, concentration and batch, scaled to length 1."""

    unit: Float64[np.ndarray, "k d"]
    compounds: Codes
    batches: Codes
    mechanisms: Int[np.ndarray, " compounds"]
    """Of each compound."""
    names: list[str]
    """Of the mechanisms."""


def make_profiles(screen: Profiles, source: Path, mechanisms: Path, batch: str) -> CompoundProfiles:
    """Return the profiles of the compounds that the file of mechanisms names; controls left out.

    Says how many compounds it does not name. Raises ValueError where the file does not do, the
    wells have no column `batch` or NaN features, none or one of its mechanisms is on the wells, or
    the wells of a profile are 0 in the mean.
    """
    require_finite(screen, source)
    kept = _choose_wells(screen.table, batch, read_mechanisms(mechanisms), mechanisms, source)
    groups = kept.group_by(_KEYS).agg("row", pl.col("mechanism").first()).sort(_KEYS)
    rows = [some.to_numpy() for some in groups["row"]]
    means = np.stack([screen.features[some].mean(axis=0, dtype=np.float64) for some in rows])
    if len(zero := np.flatnonzero(~means.any(axis=1))):
        compound, dose, of_batch = groups.select(_KEYS).row(int(zero[0]))
        raise ValueError(
            f"{source}: the wells of {compound}, {dose} uM, {batch} {of_batch} are 0 in the mean, "
            "which has no direction: leave them out"
        )
    compounds = groups.unique("compound").sort("compound")
    names, labels = _encode(compounds["mechanism"])
    return CompoundProfiles(
        unit_rows(means), _encode(groups["compound"])[1], _encode(groups["batch"])[1], labels, names
    )


def read_mechanisms(path: Path) -> pl.DataFrame:
    """Return compound and mechanism of a CSV file, once each; rows without either are left out.

    Raises ValueError where the file is missing, lacks a column, or gives a compound two mechanisms.
    """
    named = read_listed(path, COLUMNS, "mechanisms").drop_nulls()
    known = named.unique().sort(COLUMNS)
    if twice := known.filter(known["compound"].is_duplicated()).rows():
        (compound, one), (_, other) = twice[:2]
        raise ValueError(
            f"{path} gives {compound} two mechanisms, {one} and {other}: name one of them"
        )
    return known


def _choose_wells(
    table: pl.DataFrame, batch: str, known: pl.DataFrame, mechanisms: Path, source: Path
) -> pl.DataFrame:
    """Return row, compound, concentration, batch and mechanism of the wells to be taken."""
    if batch not in table.columns:
        raise ValueError(f"--batch {batch}: {source} has no such column; it has {table.columns}")
    wells = table.with_row_index("row").filter(~pl.col("control").fill_null(False))
    treated = wells.select(
        "row", "compound", "concentration_um", batch=pl.col(batch).cast(pl.String).fill_null("")
    ).filter(pl.col("compound").fill_null("") != "")
    kept = treated.join(known, on="compound", maintain_order="left")
    if (found := kept["mechanism"].n_unique()) < 2:
        compounds = ", ".join(treated["compound"].unique().sort()[:3])
        raise ValueError(
            f"{mechanisms}: {found} of its {known['mechanism'].n_unique()} mechanisms are on the "
            f"wells of {source}, and at least 2 are needed; its compounds are like "
            f"{compounds or '(none)'}"
        )
    if left_out := treated["compound"].n_unique() - kept["compound"].n_unique():
        info(f"compounds without a mechanism in {mechanisms}, left out: {left_out}")
    return kept


def _encode(values: pl.Series) -> tuple[list[str], Codes]:
    """Return the distinct values in order, and the code of each."""
    names, codes = np.unique(values.to_numpy(), return_inverse=True)
    return names.tolist(), codes
