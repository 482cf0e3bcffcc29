"""Which wells are corrected together, and whether they have the controls for it."""

from collections.abc import Container, Iterator

import numpy as np
import polars as pl
from jaxtyping import Bool, Int, Shaped

Batches = Shaped[np.ndarray, " n"] | None
"""Every well's batch, as text; None where all wells are one batch."""

ALL_WELLS = "all wells"  # the name of that one batch
LEAST_CONTROLS = 2  # one control has no spread


def read_batches(table: pl.DataFrame, column: str | None) -> Batches:
    """Return every well's batch as text, like `plate P1`, or None where no column is named.

    Raises ValueError where the column does not exist or is empty for some wells.
    """
    if column is None:
        return None
    if column not in table.columns:
        raise ValueError(f"--batch {column}: there is no such column; use one of {table.columns}")
    if table[column].has_nulls():
        count = table[column].null_count()
        raise ValueError(
            f"--batch {column}: the column is empty for {count} of {len(table)} wells; "
            "fill it in the plate map, or name another column (plate is always filled)"
        )
    return np.array([f"{column} {value}" for value in table[column]])


def each_batch(batches: Batches, count: int) -> Iterator[tuple[str, Int[np.ndarray, " m"]]]:
    """Yield every batch of `count` wells and its rows, in the order of the batches' names."""
    if batches is None:
        yield ALL_WELLS, np.arange(count)
        return
    for batch in np.unique(batches):
        yield str(batch), np.flatnonzero(batches == batch)


def require_controls(batches: Batches, control: Bool[np.ndarray, " n"]) -> None:
    """Raise ValueError, naming batches and counts, where one has too few controls."""
    if not control.any():
        raise ValueError(
            "no well is a control, and a correction is fitted on controls: set `control` to true "
            "for the wells whose perturbation should do nothing"
        )
    counts = {batch: int(control[rows].sum()) for batch, rows in each_batch(batches, len(control))}
    few = [f"{batch} ({count})" for batch, count in counts.items() if count < LEAST_CONTROLS]
    if few:
        raise ValueError(
            f"too few controls in {', '.join(few)}: a correction needs at least {LEAST_CONTROLS} "
            "in every batch; choose a coarser --batch column, or none"
        )


def require_known(batches: Batches, fitted: Container[str]) -> None:
    """Raise ValueError where some wells are of a batch that the correction was not fitted on."""
    unknown = [batch for batch, _ in each_batch(batches, 0) if batch not in fitted]
    if unknown:
        raise ValueError(f"the correction was not fitted on {', '.join(unknown)}")
