"""Opens wide profile tables, with one column per feature: Parquet, CSV and AnnData.

A table is opened by its names and types only. Features are then read some columns at a time, as
float32, so that a table is never in memory twice.
"""

import gzip
import io
import zlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar

import numpy as np
import polars as pl
from jaxtyping import Float32, Shaped

from phenomae.hdf5_files import require_readable
from phenomae.profiles.columns import Columns
from phenomae.text_tables import find_separator

TEXT_SUFFIXES = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")
# What R, pandas, Excel and databases write for a number that is missing; polars reads nan and inf.
_MISSING = ["NA", "N/A", "#N/A", "#VALUE!", "#DIV/0!", "NULL", "null", "None", "none", "<NA>"]
_ROWS_INFERRED = 1000


class WideTable(ABC):
    """A table of profiles with one row per well, site or cell."""

    suffixes: ClassVar[tuple[str, ...]]
    annotations: Collection[str] = ()
    """Columns that are no features, whatever they are called."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with readable(path):
            self.schema: Mapping[str, pl.DataType] = self._read_schema()

    @abstractmethod
    def _read_schema(self) -> Mapping[str, pl.DataType]:
        """Return the type of each column."""

    @abstractmethod
    def read_metadata(self, columns: Columns) -> pl.DataFrame:
        """Return the columns of metadata."""

    @abstractmethod
    def read_features(self, names: Sequence[str], values: Float32[np.ndarray, "n b"]) -> None:
        """Write some features into `values`, NaN where cells are empty; each is read once.

        Several threads may call it. Raises a polars error if a feature is text.
        """


class ParquetTable(WideTable):
    """A Parquet file, as pandas, pycytominer, CytoTable or DuckDB write it."""

    suffixes = (".parquet", ".pq")

    def _read_schema(self) -> Mapping[str, pl.DataType]:
        with open(self.path, "rb") as file:  # a name that is given could be a wild card
            return pl.read_parquet_schema(file)

    def read_metadata(self, columns: Columns) -> pl.DataFrame:
        return pl.read_parquet(self.path, columns=columns.metadata, glob=False)

    def read_features(self, names: Sequence[str], values: Float32[np.ndarray, "n b"]) -> None:
        copy_columns(pl.read_parquet(self.path, columns=list(names), glob=False), names, values)


class TextTable(WideTable):
    """A text file separated by commas, tabs or semicolons, maybe compressed by gzip.

    It is read once, because reading text takes longer than all else; columns that were handed out
    are dropped.
    """

    suffixes = TEXT_SUFFIXES
    _table: pl.DataFrame

    def _read_schema(self) -> Mapping[str, pl.DataType]:
        opened = gzip.open if self.path.suffix.lower() == ".gz" else open
        with opened(self.path, "rb") as file:
            self._separator = find_separator(file.readline())
            file.seek(0)
            head = io.BytesIO(b"".join(file.readline() for _ in range(_ROWS_INFERRED + 1)))
        table = pl.read_csv(head, separator=self._separator, null_values=_MISSING, glob=False)
        # A column that is empty in the first rows may hold numbers further down.
        empty = [name for name in table.columns if table[name].null_count() == len(table)]
        return {**table.schema, **dict.fromkeys(empty, pl.Float32())}

    def read_metadata(self, columns: Columns) -> pl.DataFrame:
        # Words for missing numbers may be names of genes, so metadata is read without them.
        self._table = self._read(columns.features, pl.Float32(), _MISSING)
        self._dropping = Lock()
        return self._read(columns.metadata, pl.String(), [])

    def _read(self, names: Sequence[str], kind: pl.DataType, missing: list[str]) -> pl.DataFrame:
        return pl.read_csv(
            gzip.decompress(self.path.read_bytes())
            if self.path.suffix.lower() == ".gz"
            else self.path,
            columns=list(names),
            separator=self._separator,
            schema_overrides=dict.fromkeys(names, kind),
            null_values=missing,
            glob=False,
        )

    def read_features(self, names: Sequence[str], values: Float32[np.ndarray, "n b"]) -> None:
        copy_columns(self._table, names, values)
        with self._dropping:
            self._table = self._table.drop(names)


class AnnDataTable(WideTable):
    """An .h5ad file: features in X, metadata in obs.

    pycytominer writes all columns of numbers into X, also those called Metadata_.
    """

    suffixes = (".h5ad",)

    def _read_schema(self) -> Mapping[str, pl.DataType]:
        import anndata

        require_readable(self.path)
        try:
            self._data: Any = anndata.read_h5ad(self.path)
        except Exception as error:  # HDF5 and anndata raise many types of error on damaged files
            raise ValueError(f"{self.path} is not a readable .h5ad file: {error}") from None
        if self._data.X is None:
            raise ValueError(f"{self.path} has no X: expected one row of features per well")
        self._obs = pl.from_pandas(self._data.obs)
        names = [str(name) for name in self._data.var_names]
        if twice := [
            name for name, count in Counter([*names, *self._obs.columns]).items() if count > 1
        ]:
            raise ValueError(
                f"{self.path} has {twice[0]!r} twice in var_names and obs: give each column a name "
                "of its own"
            )
        self.annotations = self._obs.columns
        self._index = {name: index for index, name in enumerate(names)}
        return {**self._obs.schema, **dict.fromkeys(names, pl.Float32())}

    def read_metadata(self, columns: Columns) -> pl.DataFrame:
        in_x = [name for name in columns.metadata if name in self._index]
        values = {name: self._read_exact(name) for name in in_x}
        obs = self._obs.select(name for name in columns.metadata if name not in self._index)
        return obs.with_columns(**values)

    def read_features(self, names: Sequence[str], values: Float32[np.ndarray, "n b"]) -> None:
        values[:] = self._read(names)

    def _read_exact(self, name: str) -> Shaped[np.ndarray, " n"]:
        """Return a column of X; raises ValueError if its type cannot hold its whole numbers."""
        values = self._read([name])[:, 0]
        if values.dtype == np.float32 and (np.abs(values) > 2**24).any():
            raise ValueError(
                f"{self.path}: {name} is in X as float32, which rounds numbers above 2^24, so that "
                "two of them may be the same: write it as text in obs"
            )
        return values

    def _read(self, names: Sequence[str]) -> np.ndarray:
        block = self._data.X[:, [self._index[name] for name in names]]
        return np.asarray(block.toarray() if hasattr(block, "toarray") else block)


def open_wide_table(path: Path) -> WideTable:
    """Open a table by its suffix; raises ValueError if it cannot be read."""
    for kind in (ParquetTable, TextTable, AnnDataTable):
        if path.name.lower().endswith(kind.suffixes):
            return kind(path)
    raise AssertionError(path)


def copy_columns(
    table: pl.DataFrame, names: Sequence[str], values: Float32[np.ndarray, "n b"]
) -> None:
    """Copy columns into `values`; empty cells are NaN. Raises a polars error if one is text."""
    for index, name in enumerate(names):
        numbers = table[name]
        if not numbers.dtype.is_numeric():
            numbers = numbers.cast(pl.Float32)
        with np.errstate(over="ignore"):  # infinite features are left out, which is printed
            values[:, index] = numbers.to_numpy()  # rounds float64 without another copy


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Raise ValueError for what libraries raise if a file cannot be read."""
    try:
        yield
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such file") from None
    except (pl.exceptions.PolarsError, OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path} is not a readable table: {reason}") from None
