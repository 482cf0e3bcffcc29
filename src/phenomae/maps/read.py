"""Reads a map: one of ours, or any other AnnData file with one row per perturbation.

Common files are read with h5py (`maps.h5ad`), all others with anndata, which is slow to import.
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
SIGNATURE = "phenomae"  # the key of `uns` that holds what made a map


@dataclass(frozen=True)
class ConsensusProfiles:
    """A map in memory: one consensus profile per row."""

    names: list[str]
    """Names of the rows: genes, compounds, doses or perturbations."""
    features: Float32[np.ndarray, "g d"]
    obs: pl.DataFrame
    """One row per name; in our own maps the columns wells, guides, batches, control and more."""
    identity: str
    """Hash of what made it; of the file's bytes if phenomae did not make it."""


class Map(TableOutput):
    """A map that `map` wrote, an .h5ad file."""

    def to_polars(self) -> pl.DataFrame:
        """Return one row per name: `name`, the columns of obs, then `feature_0000` ... ."""
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
        """Return the path and, when the file can be read, its numbers of rows and features."""
        try:
            rows, width = read_map(self.path).features.shape
        except ValueError:
            return super().__repr__()
        return f"Map({str(self.path)!r}, {rows} rows, {width} features)"


def read_map(path: PathLike) -> ConsensusProfiles:
    """Read an .h5ad map; raises ValueError if it is missing or no AnnData file."""
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
    """Return what made a map; None if phenomae did not."""
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
    renamed = RENAMED_SETTINGS.get(KIND, {})
    recorded = signature.get("settings", {})
    settings = {renamed.get(name, name): value for name, value in recorded.items()}
    return {**signature, "settings": settings}


def _open(path: Path) -> H5ad:
    """Return what the file holds, read without anndata if possible: it is slow to import."""
    if not path.is_file():
        raise ValueError(f"{path} is not a map: there is no file of that name")
    found = read_h5ad(path, SIGNATURE)
    return _open_with_anndata(path) if found is None else found


def _open_with_anndata(path: Path) -> H5ad:
    import anndata

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # whoever needs what the file lacks raises an error
            table: Any = anndata.read_h5ad(path)
    except Exception as error:  # HDF5 and anndata raise many types of error for damaged bytes
        raise ValueError(f"{path} is not an .h5ad file that can be read: {error}") from None
    if table.X is None:
        raise ValueError(f"{path} has no X, where a map holds its profiles, one row per name")
    dense = table.X.toarray() if hasattr(table.X, "toarray") else np.asarray(table.X)
    note = str(table.uns[SIGNATURE]) if SIGNATURE in table.uns else None
    return H5ad([str(name) for name in table.obs_names], dense, pl.from_pandas(table.obs), note)
