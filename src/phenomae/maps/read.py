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


def read_map(path: PathLike) -> ConsensusProfiles:
    """Read an .h5ad map.

    Raises ValueError if the file is missing, not an AnnData file, or has changed since phenomae
    wrote it.
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
    )


def read_record_of_map(path: Path) -> dict[str, Any] | None:
    """Return the settings and sources that a map records; None if phenomae did not write it.

    The content of the map is not verified.
    """
    note = _open(path).note
    return None if note is None else parse_record(note, path, f"{path}: uns/{SIGNATURE}", KIND)


def _signature(table: H5ad, path: Path) -> dict[str, Any] | None:
    """Return the record of a map's origin, verified against its content."""
    if table.note is None:
        return None
    signature = parse_record(table.note, path, f"{path}: uns/{SIGNATURE}", KIND)
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


def _open(path: Path) -> H5ad:
    """Return the contents of the file, read without anndata if possible."""
    if path.is_dir():
        raise ValueError(
            f"{path} is not a map but a folder: make a map of a folder of wells with phenomae map"
        )
    if not path.is_file():
        raise ValueError(f"{path} is not a map: there is no file of that name")
    require_readable(path)
    found = read_h5ad(path, SIGNATURE)
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
    dense = table.X.toarray() if hasattr(table.X, "toarray") else np.asarray(table.X)
    note = str(table.uns[SIGNATURE]) if SIGNATURE in table.uns else None
    return H5ad(
        names=[str(name) for name in table.obs_names],
        features=dense,
        obs=pl.from_pandas(table.obs),
        variables=[str(name) for name in table.var_names],
        unstructured=sorted(str(name) for name in table.uns if name != SIGNATURE),
        note=note,
    )
