"""Diagnosis of a correction: batch mixing, replicate agreement, effects of position and count.

The same wells are measured before and after, so that any difference is an effect of the correction.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Float32, Float64, Int, Shaped

from phenomae.correction.batch_mixing import predict_labels
from phenomae.correction.covariates import Covariates
from phenomae.correction.design_warnings import perturbation_name
from phenomae.correction.explained import explained_rows
from phenomae.correction.least_squares import MIN_PLATES
from phenomae.correction.plate_reader import PlateReader
from phenomae.correction.replicate_agreement import measure_agreement
from phenomae.correction.steps import Step
from phenomae.correction.subsample import sample_batches, sample_replicates
from phenomae.correction.verdict import Figure, conclude
from phenomae.print_table import show
from phenomae.progress import info
from phenomae.records import split_well
from phenomae.wells import PlateFiles, features_of, plate_path, read_plate
from phenomae.whole_files import write_bytes, write_json

FILE, VERDICT = "diagnosis.csv", "verdict.json"
BATCH, NEAREST = "kNN batch accuracy", "replicate retrieval"
REPLICATES, OTHERS = "cosine of replicates", "cosine of others"
POSITIONS = {"row": "kNN row accuracy", "column": "kNN column accuracy"}
COLUMNS: dict[str, pl.DataType] = {
    "measure": pl.String(),
    "wells": pl.String(),
    "column": pl.String(),
    "n": pl.Int64(),
    "before": pl.Float64(),
    "after": pl.Float64(),
    "chance": pl.Float64(),
    "difference": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "change": pl.String(),
}
_WELLS = {"all": "all wells", "controls": "controls"}
_NO_CHANGE = {"difference": None, "low": None, "high": None, "change": None}
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
    warnings: Sequence[str] = (),
) -> None:
    """Compare the wells of `files` with the corrected wells in `folder`.

    Writes diagnosis.csv, and verdict.json with the verdict and the `warnings`. `covariates` has
    those of all wells by name, as `explained.measure_all` returns them.
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
    figures: list[Figure] = []
    for sample in samples:
        places = np.searchsorted(every, sample.rows)
        row = {"measure": BATCH, "wells": sample.wells, "column": sample.column}
        name = f"kNN {sample.column} accuracy of {_WELLS[sample.wells]}"
        figure = _mixing([part[places] for part in both], sample.batches, name)
        figures += [figure] if figure is not None else []
        found.append(row | _row_of(figure, len(sample.rows)))
    mixed = bool(figures)
    places = np.searchsorted(every, named["row"].to_numpy())
    agreement, nearest = _agreement([part[places] for part in both], named)
    found += agreement
    figures += nearest
    places = np.searchsorted(every, controls)
    positions = _positions([part[places] for part in both], plates.table[controls])
    for figure in positions:
        row = {"measure": figure.name, "wells": "controls", "column": "plate"}
        found.append(row | _row_of(figure, len(controls)))
    figures += positions
    found += _explained_rows(
        [part[places] for part in both],
        {name: own[controls] for name, own in covariates.items()},
    )
    write_bytes(folder / FILE, pl.DataFrame(found, schema=COLUMNS).write_csv().encode())
    lacking = [*([] if mixed else [f"one {samples[0].column}"])]
    lacking += [] if nearest else ["no replicates on two plates"]
    write_json(folder / VERDICT, {"line": conclude(figures, lacking), "warnings": list(warnings)})


def print_diagnosis(out: Path) -> None:
    """Print diagnosis.csv as a table, the warnings and the verdict, on standard output.

    Raises ValueError if diagnosis.csv is missing or damaged.
    """
    try:
        table = pl.read_csv(out / FILE, schema_overrides=COLUMNS, glob=False).select(list(COLUMNS))
    except (pl.exceptions.PolarsError, FileNotFoundError):
        raise ValueError(
            f"{out / FILE} is missing or damaged: run correct again with diagnose and overwrite"
        ) from None
    show(table.drop("low", "high"))
    verdict = json.loads((out / VERDICT).read_text(encoding="utf-8"))
    print_warnings(verdict.get("warnings", []))  # earlier versions recorded none
    print(verdict["line"])


def print_warnings(warnings: Sequence[str]) -> None:
    """Print one line per warning on standard output."""
    for warning in warnings:
        print(f"warning: {warning}")


def columns_of_batches(steps: list[Step]) -> list[str]:
    """Return the batch columns of the steps; `plate` if no step has one."""
    return list(dict.fromkeys(step.batch for step in steps if step.batch)) or ["plate"]


def _sample_mixing(table: pl.DataFrame, plates: PlateReader, steps: list[Step]) -> list[Sample]:
    """Return samples of the controls and of all wells for each batch column of the steps.

    If no step has a batch column, the samples are for the column `plate`.
    """
    kinds = {"controls": plates.kept & plates.control, "all": plates.kept}
    samples: list[Sample] = []
    for column in columns_of_batches(steps):
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
    return (
        table.with_row_index("row")
        .filter(pl.Series(plates.kept & ~plates.control))
        .select("row", "plate", name=perturbation_name())
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
    return features_of(read_plate(plate_path(folder, plate)))


def _center(
    features: Float64[np.ndarray, "n d"], control: Bool[np.ndarray, " n"]
) -> Float64[np.ndarray, "n d"]:
    """Return the features minus the mean of all controls."""
    # Raw features are mostly positive: without centring, all cosines would be near 1.
    return features - features[control if control.any() else slice(None)].mean(axis=0)


def _mixing(
    both: list[Float64[np.ndarray, "n _"]], batches: Shaped[np.ndarray, " n"], name: str
) -> Figure | None:
    """Return the kNN batch accuracy; None for one batch, which is always predicted."""
    if len(np.unique(batches)) < 2:
        return None
    before, after = (predict_labels(part, batches) for part in both)
    return Figure(name, before.right, after.right, after.chance, higher_is_better=False)


def _positions(both: list[Float64[np.ndarray, "n _"]], controls: pl.DataFrame) -> list[Figure]:
    """Return the kNN row and column accuracy of controls, among the controls of other plates."""
    plates = controls["plate"].to_numpy()
    if len(np.unique(plates)) < 2:
        return []
    places = [split_well(well) for well in controls["well"]]
    figures = []
    for index, name in enumerate(POSITIONS.values()):
        labels = np.array([place[index] for place in places])
        if len(np.unique(labels)) > 1:
            before, after = (predict_labels(part, labels, plates) for part in both)
            figures.append(Figure(name, before.right, after.right, after.chance, False))
    return figures


def _row_of(figure: Figure | None, count: int) -> dict[str, object]:
    """Return the columns of diagnosis.csv from `n` on; empty without a figure."""
    if figure is None:
        return {"n": count, "before": None, "after": None, "chance": None, **_NO_CHANGE}
    row = {"n": count, "before": float(figure.before.mean()), "after": float(figure.after.mean())}
    change = dict(zip(("difference", "low", "high"), figure.interval or (None,) * 3, strict=True))
    return {**row, "chance": figure.chance, **change, "change": figure.change}


def _agreement(
    both: list[Float64[np.ndarray, "n _"]], named: pl.DataFrame
) -> tuple[list[dict[str, object]], list[Figure]]:
    names, plates = named["name"].to_numpy(), named["plate"].to_numpy()
    before, after = (measure_agreement(part, names, plates) for part in both)
    if before is None or after is None:
        info(
            "no perturbation is on two plates, so the diagnosis does not cover replicate agreement"
        )
        return [], []
    figure = Figure(NEAREST, before.hits, after.hits, after.chance, higher_is_better=True)
    key = {"wells": "perturbed", "column": "plate"}
    rows = [{"measure": NEAREST, **key, **_row_of(figure, after.wells)}]
    for name, old, new in (
        (REPLICATES, before.replicates, after.replicates),
        (OTHERS, before.others, after.others),
    ):
        values = {"n": after.wells, "before": old, "after": new, "chance": None}
        rows.append({"measure": name, **key, **values, **_NO_CHANGE})
    return rows, [figure]


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
    return [{**row, **_NO_CHANGE} for row in explained_rows(both, covariates)]
