"""Wide tables of one kind as a source: Parquet, CSV and AnnData files with the same features."""

import bisect
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Float32, Int

from phenomae.cores import available_cores
from phenomae.images.threads import map_in_threads
from phenomae.parquet_tables import as_text
from phenomae.profiles.columns import Columns, plain_name, split_columns
from phenomae.profiles.reduce_rows import Reducer
from phenomae.profiles.source import Grouping, Source, allocate
from phenomae.profiles.wide_tables import WideTable, open_wide_table, readable
from phenomae.progress import track

_VALUES_AT_ONCE = 2**24
"""Numbers of a block of columns, of all tables: 64 MB as float32."""


class WideSource(Source):
    """Tables with one column per feature."""

    kind = "a table with a column per feature"

    def __init__(
        self, paths: Sequence[Path], prefixes: tuple[str, ...] | None, labels: Collection[str]
    ) -> None:
        self.paths = paths
        self._tables = [open_wide_table(path) for path in paths]
        columns = [
            split_columns(each.path, each.schema, prefixes, {*labels, *each.annotations})
            for each in self._tables
        ]
        self.names = columns[0].features
        _require_same_features(paths, [each.features for each in columns])
        parts = [_read_metadata(*pair) for pair in zip(self._tables, columns, strict=True)]
        self.metadata = _concat(parts)
        self._ends = np.cumsum([len(part) for part in parts]).tolist()
        if not len(self.metadata):
            raise ValueError(f"{paths[0]} has no rows: expected one per well, site or cell")

    def origin(self, row: int) -> str:
        """Return the table and the row in it, from 1."""
        table = bisect.bisect_right(self._ends, row)
        return f"{self.paths[table]} row {row + 1 - ([0, *self._ends][table])}"

    def aggregate(
        self, rows: Grouping, folder: Path
    ) -> tuple[Float32[np.ndarray, "w d"], Int[np.ndarray, " w"] | None]:
        """Return the profile of each well, and no numbers of cells, which the rows tell."""
        profiles = allocate(rows.count, len(self.names), folder)
        reducer = Reducer(rows)
        at_once = max(1, min(64, _VALUES_AT_ONCE // len(self.metadata)))
        starts = range(0, len(self.names), at_once)

        def fill(start: int) -> int:
            block = slice(start, start + at_once)
            if reducer.changes_nothing:
                self._read(self.names[block], profiles[:, block])
            else:
                values = np.empty((len(self.names[block]), len(self.metadata)), np.float32).T
                self._read(self.names[block], values)
                profiles[:, block] = reducer.reduce(values)
            return len(self.names[block])

        with track("import", len(self.names), "features") as advance:
            for filled in map_in_threads(fill, starts, available_cores()):
                advance(filled)
        return profiles, None

    def _read(self, names: Sequence[str], values: Float32[np.ndarray, "n b"]) -> None:
        """Write some features of all tables into `values`."""
        for table, start, end in zip(self._tables, [0, *self._ends], self._ends, strict=False):
            with readable(table.path):
                table.read_features(names, values[start:end])


def _read_metadata(table: WideTable, columns: Columns) -> pl.DataFrame:
    with readable(table.path):
        metadata = table.read_metadata(columns)
    # A table that has both Metadata_Well and Image_Metadata_Well keeps the first.
    return metadata.rename(
        {
            name: plain_name(name)
            for name in metadata.columns
            if plain_name(name) not in metadata.columns
        }
    )


def _concat(parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Return the metadata of all tables; a column that one lacks is empty there.

    Columns that have different types, such as plates called 1 and P1, become text; a table in which
    a column of integers has empty cells has it as floats, and 1.0 is the text 1.
    """
    kinds = [part.schema for part in parts]
    names = list(dict.fromkeys(name for schema in kinds for name in schema))
    mixed = [name for name in names if len({each[name] for each in kinds if name in each}) > 1]
    text = [
        part.with_columns(as_text(part[name]) for name in mixed if name in part.columns)
        for part in parts
    ]
    return pl.concat(text, how="diagonal")


def _require_same_features(paths: Sequence[Path], features: Sequence[Sequence[str]]) -> None:
    first = set(features[0])
    for path, names in zip(paths, features, strict=True):
        if other := sorted(first ^ set(names)):
            has, lacks = (paths[0], path) if other[0] in first else (path, paths[0])
            raise ValueError(
                f"{has} has the feature {other[0]!r} and {lacks} has not ({len(other)} such "
                "features): tables that are imported together have the same features"
            )
