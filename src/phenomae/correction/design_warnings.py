"""Warnings about designs in which a correction cannot be estimated, or not be told from biology.

They are printed with the diagnosis and kept in `verdict.json`.
"""

import numpy as np
import polars as pl
from jaxtyping import Bool

from phenomae.correction.batches import ALL_WELLS, Batches, count_controls, name_batches

_NAMES = ("perturbation", "guide", "gene", "compound")
_MAX_NAMES = 3  # batches named in a warning about conditions; further ones are only counted


def perturbation_name() -> pl.Expr:
    """Return the name of what was done to a well: perturbation, guide, gene or compound."""
    return pl.coalesce(pl.col(column).replace("", None) for column in _NAMES)


def warn_of_few_controls(
    name: str, directions: int, batches: Batches, count: int, known: frozenset[str] = frozenset()
) -> list[str]:
    """Return a warning if batches have fewer controls than directions are estimated from them.

    `batches` has the batch of each of the `count` controls. Batches in `known` were fitted before,
    and wells of the batch `ALL_WELLS` are corrected by all controls.
    """
    controls = count_controls(batches, np.ones(count, dtype=bool))
    few = {
        batch: number
        for batch, number in controls.items()
        if number < directions and batch not in known and (batches is None or batch != ALL_WELLS)
    }
    if not few:
        return []
    return [
        f"{name} estimates {directions} directions from the controls of each batch, more than "
        f"there are controls in {len(few)} of {len(controls)} batches: {name_batches(few)}; "
        "a coarser batch column, fewer components, or center-scale need fewer controls"
    ]


def warn_of_single_conditions(
    table: pl.DataFrame, kept: Bool[np.ndarray, " n"], column: str
) -> list[str]:
    """Return a warning if a batch of the kept wells holds one condition beside its controls.

    A condition is a perturbation, guide, gene or compound, at one concentration. Wells without a
    name are not counted.
    """
    conditions = (
        table.filter(pl.Series(kept))
        .group_by(batch=column)
        .agg(
            condition=pl.struct(perturbation_name().alias("name"), "concentration_um")
            .filter(~pl.col("control").fill_null(False) & perturbation_name().is_not_null())
            .unique(),
            controls=pl.col("control").fill_null(False).sum(),
        )
        .filter(pl.col("condition").list.len() == 1)
        .sort("batch")
    )
    if conditions.is_empty():
        return []
    named = [
        f"{column} {batch} ({condition[0]['name']}, {controls} controls)"
        for batch, condition, controls in conditions.head(_MAX_NAMES).iter_rows()
    ]
    more = len(conditions) - len(named)
    return [
        f"{', '.join(named)}{f' and {more} more' if more else ''}: only one condition in the "
        "batch, so nothing but its controls can tell its effect from that of the batch"
    ]
