"""Reads a map, ours or any other AnnData file with one row a perturbation."""

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float32

from phenomae.artefacts import FORMAT, hash_file
from phenomae.maps.h5ad import H5ad, read_h5ad

KIND = "map"
SIGNATURE = "phenomae"  # the key of `uns` under which a map says what made it


@dataclass(frozen=True)
class ConsensusProfiles:
    """One vector a perturbation."""

    names: list[str]
    """Of genes, compounds or perturbations: what the map was made by."""
    features: Float32[np.ndarray, "g d"]
    obs: pl.DataFrame
    """One row a name; of our own maps the columns wells, guides, batches, control."""
    identity: str
    """Hash of what made it; of the file's bytes where phenomae did not make it."""


def read_map(path: Path) -> ConsensusProfiles:
    """Read an .h5ad map; raises ValueError where it is missing or no AnnData file."""
    table = _open(path)
    signature = _signature(table.note, path)
    return ConsensusProfiles(
        names=table.names,
        features=np.ascontiguousarray(table.features, dtype=np.float32),
        obs=table.obs,
        identity=hash_file(path) if signature is None else signature["identity"],
    )


def read_signature_of_map(path: Path) -> dict[str, Any] | None:
    """Return what made a map, or None where phenomae did not."""
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
            "make it anew with this version"
        )
    return signature


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
            warnings.simplefilter("ignore")  # what a map lacks is said by the room that needs it
            table: Any = anndata.read_h5ad(path)
    except Exception as error:  # on damaged bytes HDF5 and anndata raise whatever they meet
        raise ValueError(f"{path} is not an .h5ad file that can be read: {error}") from None
    if table.X is None:
        raise ValueError(f"{path} has no X, where a map holds its vectors, one row a name")
    dense = table.X.toarray() if hasattr(table.X, "toarray") else np.asarray(table.X)
    note = str(table.uns[SIGNATURE]) if SIGNATURE in table.uns else None
    return H5ad([str(name) for name in table.obs_names], dense, pl.from_pandas(table.obs), note)
