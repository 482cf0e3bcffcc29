"""Handles batches with too few controls: raise an error, pool their wells, or leave them out.

Each step has its own batch column, so leaving out a batch of one column can remove controls of a
batch of another column.
"""

import numpy as np
import polars as pl
from jaxtyping import Bool

from phenomae.correction.batches import (
    ALL_WELLS,
    Batches,
    count_controls,
    name_batches,
    read_batches,
    require_a_control,
)
from phenomae.correction.settings import FewControls
from phenomae.correction.steps import Step
from phenomae.progress import count_of, info

Known = list[frozenset[str]]
"""For each step, the batches of a saved correction, which need no controls."""


def settle_batches(
    table: pl.DataFrame, steps: list[Step], known: Known, policy: FewControls
) -> tuple[Bool[np.ndarray, " n"], list[Batches]]:
    """Return which wells are kept, and the batch of every well for each step.

    The policy `pool` moves wells of batches with too few controls to the batch ALL_WELLS; `drop`
    leaves these wells out. Raises ValueError if a batch has too few controls under the policy
    `error`, or if the policy cannot be applied.
    """
    control = table["control"].fill_null(False).to_numpy()
    batches = [read_batches(table, step.batch, step.requested) for step in steps]
    kept = np.ones(len(table), dtype=bool)
    if any(step.correction.min_controls for step in steps) and not any(known):
        require_a_control(control)
    if policy == "drop":
        kept = _drop_wells(control, steps, batches, known)
    for position, (step, fitted) in enumerate(zip(steps, known, strict=True)):
        own = batches[position]
        few = _find_few(step, own, control, kept, fitted)
        # A saved correction was already fitted on enough controls; otherwise the kept controls of
        # all batches together must be enough.
        poolable = bool(fitted) or int(control[kept].sum()) >= step.correction.min_controls
        if few and (policy != "pool" or own is None or not poolable):
            _refuse(few, step, bool(fitted))
        if few and own is not None:
            pooled = np.isin(own, list(few))
            batches[position] = np.where(pooled, ALL_WELLS, own)
            _report(few, step, int(pooled.sum()), "are corrected by the controls of all batches")
    return kept, batches


def _drop_wells(
    control: Bool[np.ndarray, " n"], steps: list[Step], batches: list[Batches], known: Known
) -> Bool[np.ndarray, " n"]:
    """Return the wells of batches that have enough controls at every step."""
    kept, settled = np.ones(len(control), dtype=bool), False
    # Repeated until nothing changes: leaving out a plate can leave a day with too few controls.
    while not settled:
        settled = True
        for step, labels, fitted in zip(steps, batches, known, strict=True):
            few = _find_few(step, labels, control, kept, fitted)
            if few and labels is not None:
                dropped = kept & np.isin(labels, list(few))
                _report(few, step, int(dropped.sum()), "are left out")
                kept, settled = kept & ~dropped, False
    if not kept.any():
        raise ValueError(
            "few_controls drop leaves no well: no batch has enough controls; choose a coarser "
            "batch column, or none"
        )
    return kept


def _find_few(
    step: Step,
    batches: Batches,
    control: Bool[np.ndarray, " n"],
    kept: Bool[np.ndarray, " n"],
    fitted: frozenset[str],
) -> dict[str, int]:
    """Return the number of controls of each batch that has too few among the kept wells."""
    minimum = step.correction.min_controls
    counts = count_controls(None if batches is None else batches[kept], control[kept])
    return {
        batch: count for batch, count in counts.items() if count < minimum and batch not in fitted
    }


def _refuse(few: dict[str, int], step: Step, saved: bool) -> None:
    raise ValueError(
        f"too few controls in {name_batches(few)}: {step.name} needs at least "
        f"{step.correction.min_controls} in every {'new batch' if saved else 'batch'}; "
        f"choose {'' if saved else 'a coarser batch column or none, or '}few_controls pool or drop"
    )


def _report(few: dict[str, int], step: Step, count: int, what: str) -> None:
    info(
        f"{count_of(count, 'well')} of batches with too few controls for {step.name} {what}: "
        f"{name_batches(few)}"
    )
