"""The wells that are corrected, a plate at a time, so that memory holds the controls alone."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Float32, Float64, Int

from phenomae.correction.batches import Batches
from phenomae.progress import tracked
from phenomae.wells import find_broken, refuse_broken


@dataclass(frozen=True)
class Part:
    """The kept wells of one plate."""

    rows: Int[np.ndarray, " m"]
    """Where they stand in the table of all wells."""
    features: Float64[np.ndarray, "m d"]
    batches: list[Batches]
    """Their batches for each step."""


@dataclass(frozen=True)
class Screen:
    """Wells, their batches for each step of a chain, and a way to read a plate's features."""

    table: pl.DataFrame
    """One row a well, plates that lie in one file together."""
    read: Callable[[str], Float[np.ndarray, "m d"]]
    """Returns the features of all wells of a plate, in the order of the table."""
    kept: Bool[np.ndarray, " n"]
    """Which wells are corrected."""
    batches: list[Batches]
    """Every well's batch for each step."""

    @cached_property
    def control(self) -> Bool[np.ndarray, " n"]:
        """Which wells are controls."""
        return self.table["control"].fill_null(False).to_numpy()

    @cached_property
    def rows_of(self) -> dict[str, Int[np.ndarray, " m"]]:
        """The rows of every plate that has a well kept, by the names of the plates."""
        every = self.table.with_row_index("row").group_by("plate").agg("row").sort("plate")
        rows = {plate: np.array(rows, dtype=np.int64) for plate, rows in every.rows()}
        return {plate: held for plate, held in rows.items() if self.kept[held].any()}

    def part(self, plate: str) -> Part:
        """Read the kept wells of a plate."""
        rows = self.rows_of[plate]
        kept = self.kept[rows]
        features = self.read(plate)[kept].astype(np.float64)
        return Part(rows[kept], features, self.batches_of(rows[kept]))

    def parts(self, label: str) -> Iterator[Part]:
        """Read plate after plate, showing how many are done."""
        plates = list(self.rows_of)
        for plate in tracked(plates, label, len(plates), "plates"):
            yield self.part(plate)

    def batches_of(self, rows: Int[np.ndarray, " m"]) -> list[Batches]:
        """Return the batches of some wells for each step."""
        return [None if every is None else every[rows] for every in self.batches]

    def control_batches(self) -> list[Batches]:
        """Return the batches of the kept controls for each step, in the order of their plates."""
        if not self.rows_of:
            return self.batches_of(np.zeros(0, dtype=np.int64))
        rows = np.concatenate(list(self.rows_of.values()))
        return self.batches_of(rows[(self.kept & self.control)[rows]])


def read_controls(screen: Screen, path: Path) -> Float64[np.ndarray, "m d"]:
    """Read every plate once, and return the features of the kept controls.

    Raises ValueError, naming plates and wells, where a feature of a kept well is NaN or infinite.
    """
    controls: list[Float32[np.ndarray, "m d"]] = []
    broken: list[Int[np.ndarray, " m"]] = []
    for part in screen.parts("read"):
        broken.append(part.rows[find_broken(part.features)])
        controls.append(part.features[screen.control[part.rows]].astype(np.float32))
    refuse_broken(screen.table[np.concatenate(broken)], path)
    return np.concatenate(controls, dtype=np.float64)


def hold_in_memory(screen: Screen, features: Float64[np.ndarray, "n d"], done: int) -> Screen:
    """Return a screen whose kept wells have other features, held here, `done` steps on."""
    rows = np.concatenate(list(screen.rows_of.values()))
    places = np.full(len(screen.table), -1)
    places[rows[screen.kept[rows]]] = np.arange(len(features))

    def read(plate: str) -> Float64[np.ndarray, "m d"]:
        return features[places[screen.rows_of[plate]]]  # what is not kept reads as any other

    return replace(screen, read=read, batches=screen.batches[done:])
