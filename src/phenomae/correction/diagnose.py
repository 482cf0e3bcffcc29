"""Diagnosis of a correction: batch mixing, replicate agreement, effects of position and count.

The same wells are measured before and after, so that any difference is an effect of the correction.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Float32, Float64, Int, Shaped

from phenomae.correction.batch_mixing import batch_accuracy
from phenomae.correction.covariates import Covariates
from phenomae.correction.explained import explained_rows
from phenomae.correction.least_squares import MIN_PLATES
from phenomae.correction.plate_reader import PlateReader
from phenomae.correction.replicate_agreement import measure_agreement
from phenomae.correction.steps import Step
from phenomae.correction.subsample import sample_batches, sample_replicates
from phenomae.print_table import show
from phenomae.progress import info
from phenomae.records import WELL_COLUMNS
from phenomae.wells import PlateFiles, plate_path, read_plate
from phenomae.whole_files import write_bytes

FILE = "diagnosis.csv"
BATCH, NEAREST = "batch told by neighbours", "nearest is a replicate"
REPLICATES, OTHERS = "cosine of replicates", "cosine of others"
COLUMNS: dict[str, pl.DataType] = {
    "measure": pl.String(),
    "wells": pl.String(),
    "column": pl.String(),
    "n": pl.Int64(),
    "before": pl.Float64(),
    "after": pl.Float64(),
    "chance": pl.Float64(),
}
Rows = Int[np.ndarray, " m"]


@dataclass(frozen=True)
class Sample:
    """A sample of wells on which batch mixing is measured."""

    wells: str
    """Which wells were sampled: "controls" or "all"."""
    column: str
    """Batch column."""
    rows: Rows
    """Row numbers of the sampled wells."""
    batches: Shaped[np.ndarray, " m"]


def write_diagnosis(
    folder: Path,
    files: PlateFiles,
    plates: PlateReader,
    steps: list[Step],
    covariates: dict[str, Covariates],
) -> None:
    """Compare the wells of `files` with the corrected wells in `folder` and write diagnosis.csv.

    `covariates` has those of all wells by name, as `explained.measure_all` returns them.
    """
    samples = _sample_mixing(files.table, plates, steps)
    named = _name_replicates(files.table, plates)
    named = named[sample_replicates(named)]
    # The union of all samples is read in one pass, so that each plate is read only once.
    controls = _sample_controls(plates)
    sampled = [named["row"], controls, *(sample.rows for sample in samples)]
    every = np.unique(np.concatenate(sampled))
    before = _gather(
        plates, every, lambda plate: files.read(plate)[plates.kept[plates.rows_of[plate]]]
    )
    after = _gather(plates, every, lambda plate: _read_corrected(folder, plate))
    both = [_center(part, plates.control[every]) for part in (before, after)]
    found: list[dict[str, object]] = []
    for sample in samples:
        places = np.searchsorted(every, sample.rows)
        row = {"measure": BATCH, "wells": sample.wells, "column": sample.column}
        found.append(row | _mixing_row([part[places] for part in both], sample.batches))
    places = np.searchsorted(every, named["row"].to_numpy())
    found += _agreement_rows([part[places] for part in both], named)
    places = np.searchsorted(every, controls)
    found += _explained_rows(
        [part[places] for part in both],
        {name: own[controls] for name, own in covariates.items()},
    )
    write_bytes(folder / FILE, pl.DataFrame(found, schema=COLUMNS).write_csv().encode())


def print_diagnosis(out: Path) -> None:
    """Print diagnosis.csv as a table on standard output.

    Raises ValueError if diagnosis.csv is missing or damaged.
    """
    try:
        table = pl.read_csv(out / FILE, schema_overrides=COLUMNS, glob=False).select(list(COLUMNS))
    except (pl.exceptions.PolarsError, FileNotFoundError):
        raise ValueError(
            f"{out / FILE} is missing or damaged: run correct again with diagnose and overwrite"
        ) from None
    show(table)


def _sample_mixing(table: pl.DataFrame, plates: PlateReader, steps: list[Step]) -> list[Sample]:
    """Return samples of the controls and of all wells for each batch column of the steps.

    If no step has a batch column, the samples are for the column `plate`.
    """
    columns = list(dict.fromkeys(step.batch for step in steps if step.batch)) or ["plate"]
    kinds = {"controls": plates.kept & plates.control, "all": plates.kept}
    samples: list[Sample] = []
    for column in columns:
        for wells, members in kinds.items():
            rows = np.flatnonzero(members)
            batches = np.array([str(value) for value in table[column][rows]], dtype=np.str_)
            chosen = sample_batches(batches)
            samples.append(Sample(wells, column, rows[chosen], batches[chosen]))
    return samples


def _sample_controls(plates: PlateReader) -> Rows:
    """Return the controls on which the effects of position and count are measured."""
    rows = np.flatnonzero(plates.kept & plates.control)
    return rows[sample_batches(plates.table["plate"].to_numpy()[rows].astype(np.str_))]


def _name_replicates(table: pl.DataFrame, plates: PlateReader) -> pl.DataFrame:
    """Return row, plate and perturbation name of the kept wells that are not controls.

    Wells without any name are left out.
    """
    columns = ("perturbation", "guide", "gene", "compound")
    name = pl.coalesce(pl.col(column).replace("", None) for column in columns)
    return (
        table.with_row_index("row")
        .filter(pl.Series(plates.kept & ~plates.control))
        .select("row", "plate", name=name)
        .drop_nulls()
    )


def _gather(
    plates: PlateReader, every: Rows, read: Callable[[str], Float[np.ndarray, "m d"]]
) -> Float64[np.ndarray, "n d"]:
    """Return the features of the rows `every`; `read` returns all kept wells of one plate."""
    parts: list[Float[np.ndarray, "m d"]] = []
    places: list[Rows] = []
    for plate, rows in plates.rows_of.items():
        kept = rows[plates.kept[rows]]
        sampled = np.isin(kept, every)
        if sampled.any():
            parts.append(read(plate)[sampled])
            places.append(kept[sampled])
    # Plates are read in the order of their names, so rows are sorted back to the table's order.
    order = np.argsort(np.concatenate(places))
    return np.concatenate(parts)[order].astype(np.float64)


def _read_corrected(folder: Path, plate: str) -> Float32[np.ndarray, "m d"]:
    return read_plate(plate_path(folder, plate)).select(pl.exclude(list(WELL_COLUMNS))).to_numpy()


def _center(
    features: Float64[np.ndarray, "n d"], control: Bool[np.ndarray, " n"]
) -> Float64[np.ndarray, "n d"]:
    """Return the features minus the mean of all controls."""
    # Raw features are mostly positive: without centring, all cosines would be near 1.
    return features - features[control if control.any() else slice(None)].mean(axis=0)


def _mixing_row(
    both: list[Float64[np.ndarray, "n _"]], batches: Shaped[np.ndarray, " n"]
) -> dict[str, object]:
    if len(np.unique(batches)) < 2:  # with a single batch, every prediction is correct
        return {"n": len(batches), "before": None, "after": None, "chance": None}
    (before, _), (after, chance) = (batch_accuracy(part, batches) for part in both)
    return {"n": len(batches), "before": before, "after": after, "chance": chance}


def _agreement_rows(
    both: list[Float64[np.ndarray, "n _"]], named: pl.DataFrame
) -> list[dict[str, object]]:
    names, plates = named["name"].to_numpy(), named["plate"].to_numpy()
    before, after = (measure_agreement(part, names, plates) for part in both)
    if before is None or after is None:
        info(
            "no perturbation is on two plates, so the diagnosis does not cover replicate agreement"
        )
        return []
    rows = [
        (NEAREST, before.nearest, after.nearest, after.chance),
        (REPLICATES, before.replicates, after.replicates, None),
        (OTHERS, before.others, after.others, None),
    ]
    return [
        {"measure": name, "wells": "perturbed", "column": "plate", "n": after.wells}
        | {"before": old, "after": new, "chance": chance}
        for name, old, new, chance in rows
    ]


def _explained_rows(
    both: list[Float64[np.ndarray, "m _"]], covariates: dict[str, Covariates]
) -> list[dict[str, object]]:
    plates = [rows for _, rows in covariates["position"].each_plate() if len(rows) > 1]
    if len(plates) < MIN_PLATES:
        info(
            "fewer than two plates have two controls, so the diagnosis does not cover effects of "
            "position and count on unseen plates"
        )
        return []
    return explained_rows(both, covariates)
