"""Batches: which wells are corrected together, and whether each batch has enough controls.

A batch is a text such as "plate P1" (column and value), so that the same code works for any column
and a saved correction recognises a batch by its name.
"""

from collections.abc import Container, Iterator

import numpy as np
import polars as pl
from jaxtyping import Bool, Int, Shaped

Batches = Shaped[np.ndarray, " n"] | None
"""The batch of each well as text; None if all wells belong to one batch."""

ALL_WELLS = "all wells"
"""Name of the batch that contains all wells and so all controls. Wells belong to it if there is no
batch column, or if the policy `pool` moved them here because their batch has too few controls."""
MIN_CONTROLS = 2  # the standard deviation of a single control is zero
_MAX_NAMES = 10  # batches named in an error message; further batches are only counted


def read_batches(table: pl.DataFrame, column: str | None, requested: str = "") -> Batches:
    """Return the batch of each well as text, such as `plate P1`, or None if `column` is None.

    Error messages begin with `requested`, by default `batch COLUMN`. Raises ValueError if the
    column does not exist or has empty cells.
    """
    if column is None:
        return None
    requested = requested or f"batch {column}"
    if column not in table.columns:
        raise ValueError(f"{requested}: there is no such column; use one of {table.columns}")
    if table[column].has_nulls():
        count = table[column].null_count()
        raise ValueError(
            f"{requested}: the column is empty for {count} of {len(table)} wells; "
            "fill it in the plate map, or name another column (plate is always filled)"
        )
    # The column's name is part of the batch's name: plate 1 and day 1 must not be the same batch in
    # a saved correction.
    return np.array([f"{column} {value}" for value in table[column]])


def each_batch(batches: Batches, count: int) -> Iterator[tuple[str, Int[np.ndarray, " m"]]]:
    """Yield each batch and the row numbers of its wells, sorted by batch name.

    `count` is the number of wells, which form a single batch if `batches` is None.
    """
    if batches is None:
        yield ALL_WELLS, np.arange(count)
        return
    if not len(batches):
        return
    names, codes = np.unique(batches, return_inverse=True)
    # A stable sort keeps the order of rows within a batch, so that floating-point sums are the same
    # in every run.
    order, ends = np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))
    yield from zip(names.tolist(), np.split(order, ends[:-1]), strict=True)


def new_batches(
    batches: Batches, known: Container[str], count: int
) -> Iterator[tuple[str, Int[np.ndarray, " m"]]]:
    """Yield each batch that is not in `known`, and the row numbers of its controls.

    `count` is the number of controls, and `batches` has the batch of each control.
    """
    if batches is not None:
        for batch, rows in each_batch(batches, count):
            # `learn` has already fitted ALL_WELLS, the batch of pooled wells, on all controls.
            if batch not in known and batch != ALL_WELLS:
                yield batch, rows


def count_controls(batches: Batches, control: Bool[np.ndarray, " n"]) -> dict[str, int]:
    """Return the number of controls in each batch."""
    return {batch: int(control[rows].sum()) for batch, rows in each_batch(batches, len(control))}


def require_controls(
    batches: Batches,
    control: Bool[np.ndarray, " n"],
    minimum: int = MIN_CONTROLS,
    known: Container[str] = (),
) -> None:
    """Raise ValueError if a batch has fewer than `minimum` controls.

    The message names these batches with their numbers of controls. Batches in `known` were fitted
    before and need no controls.
    """
    if not known:
        require_a_control(control)
    few = {
        batch: count
        for batch, count in count_controls(batches, control).items()
        # Wells of the batch ALL_WELLS are corrected with the controls of all batches.
        if count < minimum and batch not in known and (batches is None or batch != ALL_WELLS)
    }
    if few:
        raise ValueError(
            f"too few controls in {name_batches(few)}: a correction needs at least "
            f"{minimum} in every batch; choose a coarser batch column, or none"
        )


def require_a_control(control: Bool[np.ndarray, " n"]) -> None:
    """Raise ValueError if no well is a control."""
    if not control.any():
        raise ValueError(
            "no well is a control, and a correction is fitted on controls: set `control` to true "
            "for the wells whose perturbation should have no effect"
        )


def name_batches(counts: dict[str, int]) -> str:
    """Return batches and their numbers of controls as text: `plate P1 (0), plate P2 (1)`."""
    items = list(counts.items())
    named = ", ".join(f"{batch} ({count})" for batch, count in items[:_MAX_NAMES])
    return f"{named} and {len(counts) - _MAX_NAMES} more" if len(counts) > _MAX_NAMES else named


def require_known(batches: Batches, fitted: Container[str], by_batch: bool) -> None:
    """Raise ValueError if wells belong to a batch that the correction was not fitted on.

    `by_batch` tells whether the correction was fitted per batch.
    """
    if batches is None and by_batch:
        raise ValueError("the correction was fitted on batches: pass batches, one per well")
    unknown = [batch for batch, _ in each_batch(batches, 0) if batch not in fitted]
    if unknown:
        raise ValueError(f"the correction was not fitted on {', '.join(unknown)}")
