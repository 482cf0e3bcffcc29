"""What commands return: the path of what was made, and ways to open it.

Each room derives its own class (`Run`, `Wells`, `Map`, ...) in the module that writes the artefact.
An output is also a path (`os.fspath`), so what one function returns is what the next one takes.
Nothing is read before it is asked for.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from phenomae.signatures import read_verified

if TYPE_CHECKING:
    import pandas
    import polars


@dataclass(frozen=True, repr=False)
class Output:
    """A file or folder that a command made; a finished one that was found returns the same."""

    path: Path
    is_finished: bool = True
    """Whether it is complete; False if other shards of the command are still writing it."""

    def __fspath__(self) -> str:
        return str(self.path)

    def counts(self) -> str:
        """Return what is in it, like `2 plates, 96 wells`; nothing if it is not counted.

        Raises ValueError or OSError if it cannot be read.
        """
        return ""

    def __repr__(self) -> str:
        """Return the path and, if it can be read, what is in it."""
        try:
            counts = self.counts()
        except (ValueError, OSError):
            counts = ""
        return f"{type(self).__name__}({str(self.path)!r}{', ' * bool(counts)}{counts})"


class TableOutput(Output):
    """An output that can be read as one table."""

    def to_polars(self) -> "polars.DataFrame":
        """Return the table as a polars DataFrame."""
        raise NotImplementedError

    def to_pandas(self) -> "pandas.DataFrame":
        """Return the table as a pandas DataFrame."""
        return self.to_polars().to_pandas()


class TablesOutput(Output):
    """An output folder of several CSV tables."""

    @property
    def tables(self) -> list[str]:
        """Names of the tables, without `.csv`."""
        return sorted(path.stem for path in self.path.glob("*.csv"))

    def to_polars(self, table: str) -> "polars.DataFrame":
        """Return one of `tables`; raises ValueError if there is no such table, or on damage."""
        import polars as pl

        if table not in self.tables:
            raise ValueError(f"{self.path} has no table {table!r}: it has {', '.join(self.tables)}")
        read_verified(self.path)
        return pl.read_csv(self.path / f"{table}.csv", glob=False)

    def to_pandas(self, table: str) -> "pandas.DataFrame":
        """Return one of `tables` as a pandas DataFrame; see `to_polars`."""
        return self.to_polars(table).to_pandas()
