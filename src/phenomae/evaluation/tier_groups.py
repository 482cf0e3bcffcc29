"""The groups of wells that a tier of pairs keeps apart: plates, batches or well positions."""

from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Int

from phenomae.evaluation.recall.tiers import TIERS, TierName
from phenomae.progress import count_of

Groups = Int[np.ndarray, " n"]


def tier_groups(table: pl.DataFrame, tier: TierName, path: Path) -> Groups | None:
    """Return the group of each well, which the wells of a pair may not share; None for tier any.

    `path`, the folder of the wells, is named in errors. Raises ValueError if a well has no group,
    or if all wells have the same, so that the tier has no pair.
    """
    groups = group_codes(table, tier)
    if groups is not None:
        require_groups(groups, tier, path)
    return groups


def group_codes(table: pl.DataFrame, tier: TierName) -> Groups | None:
    """Return a code for the group of each well, -1 for wells without one; None for tier any."""
    column = TIERS[tier]
    if column is None:
        return None
    # Empty cells are read as "" from some plate maps and as null from others.
    codes = table[column].cast(pl.String).replace("", None).rank("dense") - 1
    return codes.cast(pl.Int64).fill_null(-1).to_numpy()


def require_groups(groups: Groups, tier: TierName, path: Path) -> None:
    """Raise ValueError if some wells have no group, or all have the same, so that no pair is left.

    `groups` are those of the wells that are used.
    """
    column = "position" if TIERS[tier] == "well" else TIERS[tier]
    if (without := int((groups < 0).sum())) > 0:
        raise ValueError(
            f"{path} has {count_of(without, 'well')} without a {column}, which tier {tier} needs: "
            f"fill the column, or leave {tier} out of tiers"
        )
    if len(np.unique(groups)) < 2:
        raise ValueError(
            f"{path}: tier {tier} leaves no pair, because all wells have the same {column}: leave "
            f"{tier} out of tiers"
        )
