"""Reads the wells to correct plate by plate, so that memory holds the controls and one plate.

The features of each plate are read twice: once to collect the controls and once to correct the
wells. So a screen can be corrected that does not fit into memory.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Float32, Float64, Int

from phenomae.correction.covariates import StepInput
from phenomae.missing_features import count_non_finite, find_non_finite, refuse_non_finite
from phenomae.progress import tracked


@dataclass(frozen=True)
class Part:
    """The kept wells of one plate."""

    rows: Int[np.ndarray, " m"]
    """Row numbers of these wells in the table of all wells."""
    features: Float64[np.ndarray, "m d"]
    inputs: list[StepInput]
    """Batches or covariates of these wells for each step."""


@dataclass(frozen=True)
class PlateReader:
    """All wells, what each step of a chain needs of them, and a function that reads a plate."""

    table: pl.DataFrame
    """One row per well; `wells.PlateFiles.table`."""
    read: Callable[[str], Float[np.ndarray, "m d"]]
    """Returns the features of all wells of a plate, in the order of the table."""
    kept: Bool[np.ndarray, " n"]
    """Which wells are corrected."""
    inputs: list[StepInput]
    """The batches or covariates of every well for each step."""

    @cached_property
    def control(self) -> Bool[np.ndarray, " n"]:
        """Which wells are controls."""
        return self.table["control"].fill_null(False).to_numpy()

    @cached_property
    def rows_of(self) -> dict[str, Int[np.ndarray, " m"]]:
        """Row numbers of all wells of each plate that has a kept well, sorted by plate name."""
        # Sorted, so that the order of the controls, and with it the last bits of sums, does not
        # depend on the order of the files.
        every = self.table.with_row_index("row").group_by("plate").agg("row").sort("plate")
        rows = {plate: np.array(rows, dtype=np.int64) for plate, rows in every.rows()}
        return {plate: some for plate, some in rows.items() if self.kept[some].any()}

    def part(self, plate: str) -> Part:
        """Read the kept wells of a plate."""
        rows = self.rows_of[plate]
        kept = self.kept[rows]
        features = self.read(plate)[kept].astype(np.float64)
        return Part(rows[kept], features, self.inputs_of(rows[kept]))

    def parts(self, label: str) -> Iterator[Part]:
        """Yield the kept wells of one plate after another, with a progress line named `label`."""
        plates = list(self.rows_of)
        for plate in tracked(plates, label, len(plates), "plates"):
            yield self.part(plate)

    def inputs_of(self, rows: Int[np.ndarray, " m"]) -> list[StepInput]:
        """Return the batches or covariates of the wells in `rows` for each step."""
        return [None if every is None else every[rows] for every in self.inputs]

    def control_inputs(self) -> list[StepInput]:
        """Return the batches or covariates of the kept controls for each step, by plate."""
        if not self.rows_of:
            return self.inputs_of(np.zeros(0, dtype=np.int64))
        rows = np.concatenate(list(self.rows_of.values()))
        return self.inputs_of(rows[(self.kept & self.control)[rows]])


def read_controls(
    plates: PlateReader, path: Path, names: Sequence[str] | None = None
) -> Float64[np.ndarray, "m d"]:
    """Read every plate once and return the features of the kept controls.

    `names` are those of the features, if they have any.

    Raises ValueError, naming plates and wells, if a feature of any kept well is NaN or infinite.
    """
    controls: list[Float32[np.ndarray, "m d"]] = []
    non_finite: list[Int[np.ndarray, " m"]] = []
    counts: list[Int[np.ndarray, " d"]] = []
    for part in plates.parts("read"):
        counts.append(count_non_finite(part.features))
        non_finite.append(part.rows[find_non_finite(part.features)])
        # The files have float32 features, so float32 is exact and needs half the memory of float64
        # until all controls are read.
        controls.append(part.features[plates.control[part.rows]].astype(np.float32))
    bad = plates.table[np.concatenate(non_finite)]
    refuse_non_finite(bad, np.sum(counts, axis=0), path, names)
    return np.concatenate(controls, dtype=np.float64)


def replace_features(
    plates: PlateReader, features: Float64[np.ndarray, "n d"], done: int
) -> PlateReader:
    """Return a reader of the same kept wells with `features`, which are held in memory.

    `features` are the output of the first `done` steps of the chain; the reader has the batches
    and covariates of the remaining steps only.
    """
    rows = np.concatenate(list(plates.rows_of.values()))
    places = np.full(len(plates.table), -1)
    places[rows[plates.kept[rows]]] = np.arange(len(features))

    def read(plate: str) -> Float64[np.ndarray, "m d"]:
        # Wells that are not kept get the last row's features (-1); `part` drops them.
        return features[places[plates.rows_of[plate]]]

    return replace(plates, read=read, inputs=plates.inputs[done:])
