"""Reads what a run logged, as a function of its training FLOPs.

Only the lines of training steps have FLOPs, so those of validation and recall follow from the step.
"""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from phenomae.artefacts import read_signature
from phenomae.runs import KIND, read_log

MEASURES = ("loss", "validation_loss", "recall")


@dataclass(frozen=True)
class Compute:
    """Measures of a run by training FLOPs."""

    identity: str
    table: pl.DataFrame
    """Columns step, flops and MEASURES, one row per logged step; null for what was not measured at
    that step."""

    @property
    def flops(self) -> float:
        """FLOPs of the whole training."""
        return float(self.table["flops"][-1])

    def over_flops(self, measure: str) -> pl.DataFrame:
        """Return the rows in which `measure` is not null."""
        return self.table.filter(pl.col(measure).is_not_null())


def read_compute(run: Path) -> Compute:
    """Read a finished run's log.

    Raises ValueError if it is missing or unfinished, or its log has no FLOPs, as in imported
    weights and in runs of versions that did not log them.
    """
    signature = read_signature(run, KIND)
    if signature["identity"] is None:
        raise ValueError(f"{run} is unfinished: run its pretrain command again to go on")
    records = read_log(run) if (run / "log.jsonl").exists() else []
    columns = ("step", "flops", *MEASURES)
    table = pl.DataFrame(
        [[_number(record.get(name)) for name in columns] for record in records],
        schema=dict.fromkeys(columns, pl.Float64),
        orient="row",
    )
    steps = table.filter(pl.col("flops").is_not_null())
    if steps.is_empty():
        raise ValueError(
            f"{run} has no FLOPs in its log: expected a run made by this version of pretrain"
        )
    # Validation losses and recalls are logged in lines of their own, which have no FLOPs; every
    # step costs the same, so they follow from the step.
    per_step = float(steps["flops"][-1]) / float(steps["step"][-1])
    merged = table.group_by("step").agg(pl.col(*MEASURES).drop_nulls().last()).sort("step")
    by_flops = merged.with_columns(flops=pl.col("step") * per_step).select(columns)
    return Compute(signature["identity"], by_flops.with_columns(pl.col("step").cast(pl.Int64)))


def tabulate(runs: dict[str, Compute]) -> pl.DataFrame:
    """Return the rows of runs.csv."""
    return pl.concat(
        run.table.select(pl.lit(name).alias("run"), pl.all()) for name, run in runs.items()
    )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
