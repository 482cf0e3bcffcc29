"""Reads a map: an .h5ad file of `map`, or of other software with one row per perturbation.

Common encodings are read with h5py (`maps.h5ad`), all other files with anndata, which is slow to
import.
"""

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from jaxtyping import Float32

from phenomae.artefacts import FORMAT, RENAMED_SETTINGS, hash_file
from phenomae.maps.h5ad import H5ad, read_h5ad
from phenomae.outputs import TableOutput
from phenomae.paths import PathLike
from phenomae.records import feature_names

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
    """Hash of the map's settings and sources; hash of the file if phenomae did not write it."""


class Map(TableOutput):
    """An .h5ad file that the command `map` wrote."""

    def to_polars(self) -> pl.DataFrame:
        """Return one row per name, with `name`, the columns of obs and the features.

        The columns of the features are `feature_0000`, `feature_0001`, ...
        """
        profiles = read_map(self.path)
        width = profiles.features.shape[1]
        features = pl.from_numpy(profiles.features, schema=feature_names(width), orient="row")
        names = pl.DataFrame({"name": profiles.names})
        return pl.concat([names, profiles.obs, features], how="horizontal")

    def to_anndata(self) -> "anndata.AnnData":
        """Return the map as AnnData."""
        import anndata

        return anndata.read_h5ad(self.path)

    def __repr__(self) -> str:
        """Return the path and, if the file can be read, the numbers of rows and features."""
        try:
            rows, width = read_map(self.path).features.shape
        except ValueError:
            return super().__repr__()
        return f"Map({str(self.path)!r}, {rows} rows, {width} features)"


def read_map(path: PathLike) -> ConsensusProfiles:
    """Read an .h5ad map; raises ValueError if the file is missing or not an AnnData file."""
    path = Path(path)
    table = _open(path)
    signature = _signature(table.note, path)
    return ConsensusProfiles(
        names=table.names,
        features=np.ascontiguousarray(table.features, dtype=np.float32),
        obs=table.obs,
        identity=hash_file(path) if signature is None else signature["identity"],
    )


def read_signature_of_map(path: Path) -> dict[str, Any] | None:
    """Return the settings and sources of a map; None if phenomae did not write the map."""
    return _signature(_open(path).note, path)


def _signature(text: str | None, path: Path) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        signature = json.loads(text)
        found_format = signature["format"]
    except (json.JSONDecodeError, KeyError, TypeError):
        raise ValueError(f"{path} is damaged: uns/{SIGNATURE} should be JSON") from None
    if found_format != FORMAT:
        raise ValueError(
            f"{path} has format {found_format}, but this phenomae reads format {FORMAT}: "
            "make it again with this version"
        )
    # Maps of earlier versions record some settings under other names.
    renamed = RENAMED_SETTINGS.get(KIND, {})
    recorded = signature.get("settings", {})
    settings = {renamed.get(name, name): value for name, value in recorded.items()}
    return {**signature, "settings": settings}


def _open(path: Path) -> H5ad:
    """Return the contents of the file, read without anndata if possible."""
    if not path.is_file():
        raise ValueError(f"{path} is not a map: there is no file of that name")
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
    return H5ad([str(name) for name in table.obs_names], dense, pl.from_pandas(table.obs), note)
