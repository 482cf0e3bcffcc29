"""Reads a map: an .h5ad file of `map`, or of other software with one row per perturbation.

Common encodings are read with h5py (`maps.h5ad`), all other files with anndata, which is slow to
import.
"""

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from jaxtyping import Float32

from phenomae.hdf5_files import require_readable
from phenomae.maps.content import hash_content
from phenomae.maps.h5ad import H5ad, read_h5ad
from phenomae.maps.layout_record import POINTS, RECORD, Points, read_points, verify_points
from phenomae.outputs import TableOutput
from phenomae.paths import PathLike
from phenomae.progress import count_of
from phenomae.signatures import parse_record
from phenomae.whole_files import hash_file

if TYPE_CHECKING:
    import anndata

KIND = "map"
SIGNATURE = "phenomae"  # the key of `uns` with a map's settings and sources


@dataclass(frozen=True)
class ConsensusProfiles:
    """A map in memory: one consensus profile per row."""

    names: list[str]
    """Names of the rows: genes, compounds, doses or perturbations."""
    features: Float32[np.ndarray, "g d"]
    obs: pl.DataFrame
    """One row per name. Maps of phenomae have the columns wells, guides, batches and control."""
    identity: str
    """Hash of the map's settings, sources and content; of the file if phenomae did not write it."""
    signature: dict[str, Any] | None = None
    """Settings and sources that the map records; None if phenomae did not write it."""
    variables: list[str] = field(default_factory=list)
    """Names of the features, `var_names` of the file."""
    layout: Float32[np.ndarray, "g 2"] | None = None
    """A point in the plane for each row, `obsm["X_umap"]` of the file, as `layout` and scanpy
    write it; None if there is none."""


class Map(TableOutput):
    """An .h5ad file that the command `map` wrote."""

    def to_polars(self) -> pl.DataFrame:
        """Return one row per name, with `name`, the columns of obs and the features.

        Features have their names, or are called `feature_0000` ... if they have none.
        """
        profiles = read_map(self.path)
        features = pl.from_numpy(profiles.features, schema=profiles.variables, orient="row")
        names = pl.DataFrame({"name": profiles.names})
        return pl.concat([names, profiles.obs, features], how="horizontal")

    def to_anndata(self) -> "anndata.AnnData":
        """Return the map as AnnData."""
        import anndata

        return anndata.read_h5ad(self.path)

    def counts(self) -> str:
        """Return the numbers of rows and features."""
        rows, width = read_map(self.path).features.shape
        return f"{count_of(rows, 'row')}, {count_of(width, 'feature')}"


def read_map(path: PathLike, *, with_layout: bool = True) -> ConsensusProfiles:
    """Read an .h5ad map.

    `with_layout` also reads its layout, if it has one. Raises ValueError if the file is missing,
    not an AnnData file, or has changed since phenomae wrote it.
    """
    path = Path(path)
    table = _open(path)
    signature = _signature(table, path)
    return ConsensusProfiles(
        names=table.names,
        features=np.ascontiguousarray(table.features, dtype=np.float32),
        obs=table.obs,
        identity=hash_file(path) if signature is None else signature["identity"],
        signature=signature,
        variables=table.variables,
        layout=_layout(table, signature, path) if with_layout else None,
    )


def read_record_of_map(path: Path) -> dict[str, Any] | None:
    """Return the settings and sources that a map records; None if phenomae did not write it.

    The content of the map is not verified.
    """
    note = read_notes_of_map(path).get(SIGNATURE)
    return None if note is None else _parse(note, path)


def read_notes_of_map(path: Path) -> dict[str, str]:
    """Return the records that a map has: its own (`SIGNATURE`), and that of its layout (`RECORD`).

    The content of the map is not verified.
    """
    return _open(path).notes


def _parse(note: str, path: Path) -> dict[str, Any]:
    return parse_record(note, path, f"{path}: uns/{SIGNATURE}", KIND)


def _signature(table: H5ad, path: Path) -> dict[str, Any] | None:
    """Return the record of a map's origin, verified against its content."""
    if SIGNATURE not in table.notes:
        return None
    signature = _parse(table.notes[SIGNATURE], path)
    if (expected := signature["content"]) is not None:
        found = hash_content(
            table.features, table.names, table.obs, table.variables, table.unstructured
        )
        if found != expected:
            raise ValueError(
                f"{path} is damaged or was edited: X, obs, var or uns have changed since phenomae "
                f"wrote them; make it again with overwrite, or remove uns['{SIGNATURE}'] to have "
                "it read as a map of other software"
            )
    return signature


def _layout(table: H5ad, signature: dict[str, Any] | None, path: Path) -> Points | None:
    """Return the layout of a map, verified against its record if phenomae wrote it."""
    points = read_points(table.points, len(table.names))
    # A record of a map that is no longer ours says nothing of what its user has changed.
    if signature is not None and RECORD in table.notes:
        verify_points(points, table.notes[RECORD], signature["identity"], path)
    return points


def _open(path: Path) -> H5ad:
    """Return the contents of the file, read without anndata if possible."""
    if path.is_dir():
        raise ValueError(
            f"{path} is not a map but a folder: make a map of a folder of wells with phenomae map"
        )
    if not path.is_file():
        raise ValueError(f"{path} is not a map: there is no file of that name")
    require_readable(path)
    found = read_h5ad(path, (SIGNATURE, RECORD), POINTS)
    return _open_with_anndata(path) if found is None else found


def _open_with_anndata(path: Path) -> H5ad:
    import anndata

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # code that needs a missing part raises its own error
            table: Any = anndata.read_h5ad(path)
    except Exception as error:  # HDF5 and anndata raise many types of error on damaged files
        raise ValueError(f"{path} is not a readable .h5ad file: {error}") from None
    if table.X is None:
        raise ValueError(f"{path} has no X: expected the consensus profiles, one row per name")
    notes = {key: str(table.uns[key]) for key in (SIGNATURE, RECORD) if key in table.uns}
    return H5ad(
        names=[str(name) for name in table.obs_names],
        features=_to_dense(table.X),
        obs=pl.from_pandas(table.obs),
        variables=[str(name) for name in table.var_names],
        unstructured=sorted({str(name) for name in table.uns} - {*notes}),
        notes=notes,
        points=_to_dense(table.obsm[POINTS]) if POINTS in table.obsm else None,
    )


def _to_dense(values: Any) -> np.ndarray:
    return values.toarray() if hasattr(values, "toarray") else np.asarray(values)
