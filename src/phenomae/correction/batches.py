"""Batches: which wells are corrected together, and whether they have enough controls for it.

Batches are text ("plate P1") from here on, so that the same code serves any column and a saved
correction recognises a batch by its name.
"""

from collections.abc import Container, Iterator

import numpy as np
import polars as pl
from jaxtyping import Bool, Int, Shaped

Batches = Shaped[np.ndarray, " n"] | None
"""The batch of every well, as text; None if all wells are one batch."""

ALL_WELLS = "all wells"
"""The batch of all controls together. It is used if there is no batch column, and for wells that
are assigned to it because their own batch has too few controls."""
MIN_CONTROLS = 2  # the spread of a single control is zero
_MAX_NAMES = 10  # in an error message; the other batches are counted


def read_batches(table: pl.DataFrame, column: str | None, requested: str = "") -> Batches:
    """Return the batch of every well as text, like `plate P1`, or None if `column` is None.

    `requested` is how error messages call the request; by default `batch COLUMN`. Raises ValueError
    if the column does not exist or is empty for some wells.
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
    # The column's name is part of it: plate 1 and day 1 must not be the same batch in a saved file.
    return np.array([f"{column} {value}" for value in table[column]])


def each_batch(batches: Batches, count: int) -> Iterator[tuple[str, Int[np.ndarray, " m"]]]:
    """Yield each batch of `count` wells and its rows, sorted by the names of the batches."""
    if batches is None:
        yield ALL_WELLS, np.arange(count)
        return
    if not len(batches):
        return
    names, codes = np.unique(batches, return_inverse=True)
    # Stable, so that rows of a batch keep their order and sums are added in the same order.
    order, ends = np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))
    yield from zip(names.tolist(), np.split(order, ends[:-1]), strict=True)


def new_batches(
    batches: Batches, known: Container[str], count: int
) -> Iterator[tuple[str, Int[np.ndarray, " m"]]]:
    """Yield the batches of `count` controls that are not known yet, and their rows."""
    if batches is not None:
        for batch, rows in each_batch(batches, count):
            # Wells pooled in ALL_WELLS are corrected by all controls, which `learn` has seen.
            if batch not in known and batch != ALL_WELLS:
                yield batch, rows


def count_controls(batches: Batches, control: Bool[np.ndarray, " n"]) -> dict[str, int]:
    """Return the number of controls of each batch."""
    return {batch: int(control[rows].sum()) for batch, rows in each_batch(batches, len(control))}


def require_controls(
    batches: Batches,
    control: Bool[np.ndarray, " n"],
    minimum: int = MIN_CONTROLS,
    known: Container[str] = (),
) -> None:
    """Raise ValueError, naming batches and counts, if one has fewer than `minimum` controls.

    Batches that are `known` need none.
    """
    if not known:
        require_a_control(control)
    few = {
        batch: count
        for batch, count in count_controls(batches, control).items()
        # Wells of ALL_WELLS are corrected by the controls of every batch.
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
            "for the wells whose perturbation should do nothing"
        )


def name_batches(counts: dict[str, int]) -> str:
    """Return the batches with their counts as words: `plate P1 (0), plate P2 (1)`."""
    items = list(counts.items())
    named = ", ".join(f"{batch} ({count})" for batch, count in items[:_MAX_NAMES])
    return f"{named} and {len(counts) - _MAX_NAMES} more" if len(counts) > _MAX_NAMES else named


def require_known(batches: Batches, fitted: Container[str], by_batch: bool) -> None:
    """Raise ValueError if wells belong to a batch that the correction was not fitted on.

    `by_batch` is whether it was fitted on batches at all.
    """
    if batches is None and by_batch:
        raise ValueError("the correction was fitted on batches: pass batches, one per well")
    unknown = [batch for batch, _ in each_batch(batches, 0) if batch not in fitted]
    if unknown:
        raise ValueError(f"the correction was not fitted on {', '.join(unknown)}")
