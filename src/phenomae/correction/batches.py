"""Which wells are corrected together, and whether they have the controls for it."""

from collections.abc import Container, Iterator

import numpy as np
import polars as pl
from jaxtyping import Bool, Int, Shaped

Batches = Shaped[np.ndarray, " n"] | None
"""Every well's batch, as text; None where all wells are one batch."""

ALL_WELLS = "all wells"
"""The batch of all controls together: what is used where there are no batches, and for wells that
are given this name because their own batch has too few controls."""
LEAST_CONTROLS = 2  # one control has no spread
_NAMED = 10  # so many batches are named in a sentence, the others counted


def read_batches(table: pl.DataFrame, column: str | None, asked: str = "") -> Batches:
    """Return every well's batch as text, like `plate P1`, or None where no column is named.

    `asked` is how the column was asked for, where it was not by `--batch`. Raises ValueError where
    the column does not exist or is empty for some wells.
    """
    if column is None:
        return None
    asked = asked or f"--batch {column}"
    if column not in table.columns:
        raise ValueError(f"{asked}: there is no such column; use one of {table.columns}")
    if table[column].has_nulls():
        count = table[column].null_count()
        raise ValueError(
            f"{asked}: the column is empty for {count} of {len(table)} wells; "
            "fill it in the plate map, or name another column (plate is always filled)"
        )
    return np.array([f"{column} {value}" for value in table[column]])


def each_batch(batches: Batches, count: int) -> Iterator[tuple[str, Int[np.ndarray, " m"]]]:
    """Yield every batch of `count` wells and its rows, in the order of the batches' names."""
    if batches is None:
        yield ALL_WELLS, np.arange(count)
        return
    if not len(batches):
        return
    names, codes = np.unique(batches, return_inverse=True)
    order, ends = np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))
    yield from zip(names.tolist(), np.split(order, ends[:-1]), strict=True)


def new_batches(
    batches: Batches, known: Container[str], count: int
) -> Iterator[tuple[str, Int[np.ndarray, " m"]]]:
    """Yield the batches of `count` controls that are not known yet, and their rows."""
    if batches is not None:
        for batch, rows in each_batch(batches, count):
            if batch not in known and batch != ALL_WELLS:
                yield batch, rows


def count_controls(batches: Batches, control: Bool[np.ndarray, " n"]) -> dict[str, int]:
    """Return how many controls every batch has."""
    return {batch: int(control[rows].sum()) for batch, rows in each_batch(batches, len(control))}


def require_controls(batches: Batches, control: Bool[np.ndarray, " n"]) -> None:
    """Raise ValueError, naming batches and counts, where one has too few controls."""
    require_a_control(control)
    counts = count_controls(batches, control)
    few = {batch: count for batch, count in counts.items() if count < LEAST_CONTROLS}
    if few:
        raise ValueError(
            f"too few controls in {name_batches(few)}: a correction needs at least "
            f"{LEAST_CONTROLS} in every batch; choose a coarser --batch column, or none"
        )


def require_a_control(control: Bool[np.ndarray, " n"]) -> None:
    """Raise ValueError where no well is a control."""
    if not control.any():
        raise ValueError(
            "no well is a control, and a correction is fitted on controls: set `control` to true "
            "for the wells whose perturbation should do nothing"
        )


def name_batches(counts: dict[str, int]) -> str:
    """Return the batches with their counts as words: `plate P1 (0), plate P2 (1)`."""
    named = ", ".join(f"{batch} ({count})" for batch, count in list(counts.items())[:_NAMED])
    return f"{named} and {len(counts) - _NAMED} more" if len(counts) > _NAMED else named


def require_known(batches: Batches, fitted: Container[str], by_batch: bool) -> None:
    """Raise ValueError where wells are of a batch that the correction was not fitted on.

    `by_batch` says whether it was fitted on batches at all.
    """
    if batches is None and by_batch:
        raise ValueError("the correction was fitted on batches: give the batch of every well")
    unknown = [batch for batch, _ in each_batch(batches, 0) if batch not in fitted]
    if unknown:
        raise ValueError(f"the correction was not fitted on {', '.join(unknown)}")
