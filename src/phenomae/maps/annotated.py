"""Wells and maps as AnnData: in memory, and as an .h5ad file that old versions of anndata read."""

from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from phenomae.maps.encode import encode_h5ad, obs_columns
from phenomae.maps.export_source import Rows
from phenomae.maps.layout_record import POINTS
from phenomae.maps.read import Map, read_map
from phenomae.paths import PathLike
from phenomae.wells import Wells

if TYPE_CHECKING:
    import anndata


def to_anndata(wells: PathLike, /) -> "anndata.AnnData":
    """Return wells or a map as AnnData, for scanpy and the other packages of scverse.

    X has the profiles, one row per well or row of the map; obs the other columns. Wells are named
    `PLATE/WELL`. Features have the names that the wells record, else `feature_0000`,
    `feature_0001`, ...

    Parameters
    ----------
    wells
        Folder of wells, or an .h5ad map.

    Raises ValueError if `wells` is neither, or is damaged.
    """
    path = Path(wells)
    return Wells(path).to_anndata() if path.is_dir() else _read_map(path)


def _read_map(path: Path) -> "anndata.AnnData":
    if path.suffix != ".h5ad":
        raise ValueError(f"{path} is neither a folder of wells nor an .h5ad map: give one")
    read_map(path)  # raises if it is missing, damaged or no map
    return Map(path).to_anndata()


def encode_rows(rows: Rows) -> bytes:
    """Return the bytes of an .h5ad file with the rows: what `to_anndata` returns.

    The records of a map (`uns["phenomae"]`, and that of its layout) are left out, because they are
    of the map's own file.
    """
    table = rows.table
    if rows.by is None:
        table = table.with_columns(pl.col("control").fill_null(False))
    obsm = {} if rows.layout is None else {POINTS: rows.layout}
    return encode_h5ad(rows.features, obs_columns(table), rows.names, rows.variables, {}, obsm)
