"""Mean profiles per compound, concentration and batch, of compounds with a known mechanism."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Bool, Float64, Int

from phenomae.evaluation.csv_lists import read_csv_list
from phenomae.evaluation.questions.neighbours import Codes
from phenomae.evaluation.questions.parts import compute_parts, name_tier
from phenomae.evaluation.recall.tiers import TierName
from phenomae.evaluation.tier_groups import tier_groups
from phenomae.maps.unit_vectors import unit_rows
from phenomae.progress import info
from phenomae.wells import Profiles, require_finite

COLUMNS = ("compound", "mechanism")
SEPARATOR = "|"  # between several mechanisms in one cell, as in the Drug Repurposing Hub
_KEYS = ("compound", "concentration_um", "batch", "group")


@dataclass(frozen=True)
class CompoundProfiles:
    """The mean profile of each compound, concentration, batch and group, scaled to length 1."""

    unit: Float64[np.ndarray, "k d"]
    compounds: Codes
    batches: Codes
    groups: Codes | None
    """Group of each profile in a tier of pairs of wells: its plate, for example."""
    mechanisms: Int[np.ndarray, " compounds"]
    """Index in `names` of the mechanisms of each compound."""
    names: list[str]
    """The mechanisms of a compound as one name: `A`, or `A|B` if it has several."""
    members: Bool[np.ndarray, "names mechanisms"]
    """Which single mechanisms each name stands for."""
    compound_names: list[str]

    @property
    def agree(self) -> Bool[np.ndarray, "names names"] | None:
        """Which names share a mechanism; None if every compound has one mechanism."""
        return share_one(self.members)


def make_profiles(
    wells: Profiles,
    path: Path,
    mechanisms: Path,
    batch: str,
    tiers: Sequence[TierName] = ("any",),
) -> dict[TierName, CompoundProfiles]:
    """Average the treated wells of each compound, concentration and batch, for each tier.

    In a tier other than any, the wells of a profile are also of one group: one plate, for example.
    Compounds that the file `mechanisms` does not list are left out, and their number is logged.
    `path` is named in errors. Raises ValueError if the file cannot be used, the wells have no
    column named by `batch`, a well has NaN, the wells have fewer than two mechanisms, a mean
    profile is zero, or no tier has a pair of wells; a tier that has none is left out, and logged.
    """
    require_finite(wells, path)
    kept, left_out = _choose_wells(wells.table, batch, mechanisms, path)
    if left_out:
        info(f"compounds left out, without a mechanism in {mechanisms}: {left_out}")
    return compute_parts(
        {tier: partial(_average, wells, kept, path, batch, tier) for tier in tiers}, name_tier
    )


def code_profiles(
    table: pl.DataFrame, path: Path, mechanisms: Path, batch: str, tiers: Sequence[TierName]
) -> list[Codes]:
    """Return for each tier a code of the profile of each well; -1 for wells that are left out.

    Raises ValueError as `make_profiles` does.
    """
    kept, _ = _choose_wells(table, batch, mechanisms, path)
    grouped = compute_parts(
        {tier: partial(_group, table, kept, path, tier) for tier in tiers}, name_tier
    )
    found = []
    for groups in grouped.values():
        codes = np.full(len(table), -1)
        for code, rows in enumerate(groups["row"]):
            codes[rows.to_numpy()] = code
        found.append(codes)
    return found


def _group(table: pl.DataFrame, kept: pl.DataFrame, path: Path, tier: TierName) -> pl.DataFrame:
    """Return the rows of the wells of each profile, its mechanism and its `_KEYS`."""
    of_tier = tier_groups(table[kept["row"]], tier, path)
    # One group for all wells in tier any, so that the key changes no profile there.
    kept = kept.with_columns(group=pl.lit(0) if of_tier is None else pl.Series(of_tier))
    return kept.group_by(_KEYS).agg("row", pl.col("mechanism").first()).sort(_KEYS)


def _average(
    wells: Profiles, kept: pl.DataFrame, path: Path, batch: str, tier: TierName
) -> CompoundProfiles:
    groups = _group(wells.table, kept, path, tier)
    rows = [group.to_numpy() for group in groups["row"]]
    # Means in float64, because sums over many wells in float32 lose digits.
    means = np.stack([wells.features[group].mean(axis=0, dtype=np.float64) for group in rows])
    if len(zero := np.flatnonzero(~means.any(axis=1))):
        compound, dose, of_batch, _ = groups.select(_KEYS).row(int(zero[0]))
        raise ValueError(
            f"{path}: the mean of the wells of {compound}, {dose} uM, {batch} {of_batch} is zero, "
            "so it has no cosine: correct the features first (phenomae correct), or remove them"
        )
    # Sorted like the codes of `_encode`, so that codes of compounds index the mechanisms.
    compounds = groups.unique("compound").sort("compound")
    names, labels = _encode(compounds["mechanism"])
    _, members = list_members(names)
    compound_names, codes = _encode(groups["compound"])
    return CompoundProfiles(
        unit_rows(means),
        codes,
        _encode(groups["batch"])[1],
        None if tier == "any" else groups["group"].to_numpy(),
        labels,
        names,
        members,
        compound_names,
    )


def read_mechanisms(path: Path) -> pl.DataFrame:
    """Read a CSV file of compound and mechanism; return one row per compound and mechanism.

    Several mechanisms of a compound may stand in one cell, as `A|B`, or in rows of their own. Rows
    with empty cells are skipped. Raises ValueError if the file is missing or lacks a column.
    """
    named = read_csv_list(path, COLUMNS, "mechanisms")
    single = named.with_columns(pl.col("mechanism").str.split(SEPARATOR)).explode("mechanism")
    stripped = single.with_columns(pl.col("mechanism").str.strip_chars().replace("", None))
    return stripped.drop_nulls().unique().sort(COLUMNS)


def join_mechanisms(known: pl.DataFrame) -> pl.DataFrame:
    """Return one row per compound, with its mechanisms as one name: `A`, or `A|B` in that order."""
    together = pl.col("mechanism").sort().str.join(SEPARATOR)
    return known.group_by("compound").agg(together).sort("compound")


def list_members(names: Sequence[str]) -> tuple[list[str], Bool[np.ndarray, "names mechanisms"]]:
    """Return the single mechanisms of names like `A|B`, and which of them each name stands for."""
    parts = [name.split(SEPARATOR) for name in names]
    single = sorted({part for several in parts for part in several})
    place = {name: index for index, name in enumerate(single)}
    members = np.zeros((len(names), len(single)), dtype=bool)
    for row, several in enumerate(parts):
        members[row, [place[part] for part in several]] = True
    return single, members


def share_one(
    members: Bool[np.ndarray, "names mechanisms"],
) -> Bool[np.ndarray, "names names"] | None:
    """Return which names share a mechanism; None if each stands for one."""
    if (members.sum(axis=1) == 1).all():
        return None
    counts = members.astype(np.float32)  # sums of float32 are exact, and use BLAS
    return counts @ counts.T > 0


def _choose_wells(
    table: pl.DataFrame, batch: str, mechanisms: Path, path: Path
) -> tuple[pl.DataFrame, int]:
    """Return row, compound, concentration_um, batch, mechanism of wells with a known mechanism.

    Also return the number of compounds that are left out, because their mechanism is not known.
    """
    single = read_mechanisms(mechanisms)
    known = join_mechanisms(single)
    if batch not in table.columns:
        raise ValueError(f"batch {batch}: {path} has no such column; it has {table.columns}")
    wells = table.with_row_index("row").filter(~pl.col("control").fill_null(False))
    # Batches may be numbers, so they are cast; wells with an empty batch form a batch of their own.
    treated = wells.select(
        "row", "compound", "concentration_um", batch=pl.col(batch).cast(pl.String).fill_null("")
    ).filter(pl.col("compound").fill_null("") != "")
    if treated.is_empty():
        raise ValueError(
            f"{path} has no treated well with a compound: fill the column compound in the plate map"
        )
    kept = treated.join(known, on="compound", maintain_order="left")
    if kept["mechanism"].n_unique() < 2:
        found = single.join(kept, on="compound", how="semi")["mechanism"].n_unique()
        compounds = ", ".join(treated["compound"].unique().sort()[:3])
        raise ValueError(
            f"{mechanisms}: {found} of its {single['mechanism'].n_unique()} mechanisms are in the "
            f"wells of {path}, but two that differ are needed; compounds there are like "
            f"{compounds}"
        )
    return kept, treated["compound"].n_unique() - kept["compound"].n_unique()


def _encode(values: pl.Series) -> tuple[list[str], Codes]:
    """Return the distinct values in sorted order, and the code of each value."""
    names, codes = np.unique(values.to_numpy(), return_inverse=True)
    return names.tolist(), codes
