"""What every format of profile tables gives: metadata of its rows, and their features by well."""

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import polars as pl
from jaxtyping import Float32, Int

from phenomae.profiles.settings import Statistic, Unit

_IN_MEMORY = 2**31
"""Bytes of features beyond which they are held in a temporary file, which the system keeps in
memory as far as there is room."""


@dataclass(frozen=True)
class Grouping:
    """Which rows are of which well."""

    well: Int[np.ndarray, " n"]
    """The well of each row, by number; -1 for rows that are left out."""
    count: int
    """Number of wells."""
    names: Sequence[str]
    """Plate and well of each well, for messages."""
    unit: Unit
    statistic: Statistic


class Source(ABC):
    """Profile tables of one kind; their features are read when wells are made of them."""

    kind: ClassVar[str]
    """What the tables are called in messages."""
    unit: ClassVar[Unit | None] = None
    """What a row is, if all tables of this kind have the same; None if columns tell."""
    paths: Sequence[Path]
    metadata: pl.DataFrame
    """One row per row of the tables, or per file if each file is of one site."""
    names: list[str]
    """Names of the features."""

    @abstractmethod
    def origin(self, row: int) -> str:
        """Return where a row of `metadata` is from, for messages."""

    @abstractmethod
    def aggregate(
        self, rows: Grouping, folder: Path
    ) -> tuple[Float32[np.ndarray, "w d"], Int[np.ndarray, " w"] | None]:
        """Return the profile of each well, and its number of cells if a file has several.

        `folder` has room for a temporary file. Raises ValueError if a feature is no number, or if
        rows are wells and two of one well differ.
        """


def allocate(count: int, width: int, folder: Path) -> Float32[np.ndarray, "w d"]:
    """Return an array for the features of `count` wells, in a temporary file if it is large.

    Feature by feature in memory, as tables are read and written.
    """
    if 4 * count * width <= _IN_MEMORY:
        return np.empty((width, count), dtype=np.float32).T
    # The system removes an unnamed file when the process ends, however it ends.
    with tempfile.TemporaryFile(dir=folder) as file:
        file.truncate(4 * count * width)
        return np.memmap(file, dtype=np.float32, mode="r+", shape=(width, count)).T
