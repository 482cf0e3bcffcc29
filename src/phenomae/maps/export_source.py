"""Reads what `export` writes in other forms: wells, or a map."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Float32

from phenomae.maps.export_columns import COMPARTMENTS
from phenomae.maps.layout_record import Points
from phenomae.maps.read import ConsensusProfiles, read_map
from phenomae.records import feature_names
from phenomae.wells import read_wells

# The column of row names, for a map of other software, which does not record what its rows are.
FOREIGN = "name"


@dataclass(frozen=True)
class Rows:
    """Wells, or the rows of a map, in memory."""

    path: Path
    table: pl.DataFrame
    """The metadata columns of wells, or obs of a map, under the names that they have here."""
    features: Float32[np.ndarray, "n d"]
    names: list[str]
    """Names of the rows: PLATE/WELL, or those of the map."""
    variables: list[str]
    """Names of the features, or `feature_0000` ... if they have none."""
    is_named: bool
    """Whether the features have names; not if other software named them, which pycytominer would
    not take for features."""
    identity: str
    by: str | None
    """What the rows of a map are: gene, compound, dose or perturbation, or `name` if the map does
    not record it; None for wells."""
    where: str | None = None
    """The condition by which the wells of a map were selected."""
    labels: str | None = None
    """The plate map whose labels a map has instead of those of its wells."""
    layout: Points | None = None
    """A point in the plane for each row of a map that has a layout."""

    def named_table(self) -> pl.DataFrame:
        """Return the table, of a map with the names of its rows as first column.

        Raises ValueError if obs of the map has a column of that name.
        """
        if self.by is None:
            return self.table
        if self.by in self.table.columns:
            raise ValueError(
                f"{self.path} has a column {self.by!r} in obs, the name of the column of row "
                "names: rename it"
            )
        return self.table.select(pl.Series(self.by, self.names), pl.all())


def read_rows(source: Path) -> Rows:
    """Read wells or a map; raises ValueError if `source` is neither."""
    if source.is_dir():
        wells = read_wells(source)
        names = wells.table.select(pl.concat_str("plate", "well", separator="/")).to_series()
        return Rows(
            source,
            wells.table,
            wells.features,
            names.to_list(),
            variables=wells.columns,
            is_named=wells.names is not None,
            identity=wells.identity,
            by=None,
        )
    if source.suffix != ".h5ad":
        raise ValueError(f"{source} is neither a folder of wells nor an .h5ad map: give one")
    return rows_of_map(source, read_map(source))


def rows_of_map(path: Path, rows: ConsensusProfiles) -> Rows:
    """Return the rows of a map that was read from `path`."""
    settings, sources = ((rows.signature or {}).get(part, {}) for part in ("settings", "sources"))
    by = str(settings.get("by", FOREIGN))
    # Maps from other software may have categories; text is the type that CSV and other tools read.
    table = rows.obs.with_columns(pl.col(pl.Categorical, pl.Enum).cast(pl.String))
    return Rows(
        path,
        table,
        rows.features,
        rows.names,
        variables=rows.variables,
        is_named=_are_named(rows),
        identity=rows.identity,
        by=by,
        where=settings.get("where"),
        labels=sources.get("labels"),
        layout=rows.layout,
    )


def _are_named(rows: ConsensusProfiles) -> bool:
    if rows.signature:
        return rows.variables != feature_names(rows.features.shape[1])
    return any(name.startswith(COMPARTMENTS) for name in rows.variables)
