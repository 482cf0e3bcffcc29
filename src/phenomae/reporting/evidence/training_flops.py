"""Reads the losses and recalls that a run logged, as a function of training FLOPs.

Only the log lines of training steps have FLOPs. Every step costs the same, so the FLOPs of
validation losses and recalls are computed from their step.
"""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from phenomae.runs import KIND, SHOWN, read_log
from phenomae.signatures import read_verified

MEASURES = ("loss", "validation_loss", "recall")


@dataclass(frozen=True)
class Compute:
    """Losses and recalls of a run over training FLOPs."""

    identity: str
    table: pl.DataFrame
    """Columns step, flops and MEASURES, one row per logged step; null for a measure that was not
    logged at this step."""

    @property
    def flops(self) -> float:
        """FLOPs of the training up to the last logged step."""
        return float(self.table["flops"][-1])

    def over_flops(self, measure: str) -> pl.DataFrame:
        """Return the rows of `table` in which `measure` is not null."""
        return self.table.filter(pl.col(measure).is_not_null())


def read_compute(run: Path) -> Compute:
    """Read a finished run's log.

    Raises ValueError if the run is missing or unfinished, or its log has no FLOPs. Imported weights
    have no FLOPs, nor do runs of versions that did not log FLOPs.
    """
    signature = read_verified(run, KIND, SHOWN)
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
    # Validation losses and recalls are logged in separate lines without FLOPs.
    per_step = float(steps["flops"][-1]) / float(steps["step"][-1])
    # A step may have several lines, such as its loss and a recall; they are merged into one row.
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
