"""The tables of metadata of the RxRx data sets: how they are recognised and their rows read."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from phenomae.images.fields import parse_site
from phenomae.records import check_name, normalize_well
from phenomae.text_tables import read_columns, read_lines
from phenomae.tidy_text import EMPTY_WORDS, empty_cells, tidy_text

_NAME = re.compile(r"(?:.*[-_])?metadata(?:[-_].*)?\.(?:csv|csv\.gz|parquet)")

Cells = Mapping[str, str | None]
"""A row of a table."""


@dataclass(frozen=True)
class Treatment:
    """What was done to a well."""

    words: str
    """How errors describe it."""
    control: bool
    """Whether the well is a negative control."""
    labels: Mapping[str, object] = field(default_factory=dict)
    """Further columns of `records.LABEL_COLUMNS`: perturbation, gene, compound, ..."""


@dataclass(frozen=True)
class Plate:
    """A plate, which its number identifies only within its experiment."""

    experiment: str
    number: int

    @property
    def name(self) -> str:
        """`HUVEC-1_Plate3`."""
        return f"{self.experiment}_Plate{self.number}"

    @property
    def folder(self) -> str:
        """`HUVEC-1/Plate3`, where its images are."""
        return f"{self.experiment}/Plate{self.number}"


@dataclass(frozen=True)
class Row:
    """A row of the metadata."""

    line: int
    plate: Plate
    well: str
    site: int | None
    """None if the row is about all sites of the well."""
    treatment: Treatment
    cells: Cells


@dataclass(frozen=True)
class Metadata:
    """What the table of metadata of a data set is called and contains."""

    name: str
    """The data set, as errors name it: `RxRx1`."""
    read_treatment: Callable[[Cells], Treatment]
    """Return what was done to the well of a row; raises ValueError if the row is invalid."""
    columns: Sequence[str]
    """Columns that the layout reads."""
    signs: Sequence[str] = ()
    """Other columns by which the table is recognised."""
    experiment: str = "experiment"
    well: str = "well"
    site: str | None = "site"
    """Column of the site; None if the table has one row per well."""

    def find(self, raw: Path) -> list[Path]:
        """Return the table (`raw` itself, or the first in it) with these columns.

        One column may be missing, so that `read` can say which, instead of an error that no layout
        is known.
        """
        paths = [raw] if raw.is_file() else sorted(raw.iterdir())
        named = [path for path in paths if _NAME.fullmatch(path.name.lower())]
        tables = [path for path in named if path.is_file()]
        # Many data sets have a metadata.csv, so the name alone does not tell.
        known = {*self.columns, *self.signs}
        return [p for p in tables if len(known & set(read_columns(p))) >= len(known) - 1][:1]

    def read(self, csv: Path) -> tuple[pl.DataFrame, list[int]]:
        """Return the table as text, and the line of each row; empty words such as NA are null.

        Raises ValueError if it cannot be read or lacks a column.
        """
        table, lines = read_lines(csv)
        table = tidy_text(table, str(csv))
        table = empty_cells(table, EMPTY_WORDS.split(","), str(csv), remedy="")
        if missing := [name for name in self.columns if name not in table.columns]:
            raise ValueError(
                f"{csv} is not the metadata of {self.name}: it has no column {missing[0]}"
            )
        return table, lines

    def read_plate(self, cells: Cells) -> Plate:
        """Return the plate of a row; raises ValueError if it names none."""
        experiment = check_name(cells[self.experiment] or "", "batch")
        return Plate(experiment, parse_site(cells["plate"] or "", "plate's number"))

    def read_row(self, line: int, plate: Plate, cells: Cells) -> Row:
        """Return a row with its well, site and treatment; raises ValueError if it is invalid."""
        well = normalize_well(cells[self.well] or "")
        site = parse_site(cells[self.site] or "") if self.site else None
        return Row(line, plate, well, site, self.read_treatment(cells), cells)
