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
    signature = _signature(table, path)
    dense = table.X.toarray() if hasattr(table.X, "toarray") else np.asarray(table.X)
    return ConsensusProfiles(
        names=[str(name) for name in table.obs_names],
        features=np.ascontiguousarray(dense, dtype=np.float32),
        obs=pl.from_pandas(table.obs),
        identity=hash_file(path) if signature is None else signature["identity"],
    )


def read_signature_of_map(path: Path) -> dict[str, Any] | None:
    """Return what made a map, or None where phenomae did not."""
    return _signature(_open(path), path)


def _signature(table: Any, path: Path) -> dict[str, Any] | None:
    if SIGNATURE not in table.uns:
        return None
    try:
        signature = json.loads(str(table.uns[SIGNATURE]))
        found_format = signature["format"]
    except (json.JSONDecodeError, KeyError, TypeError):
        raise ValueError(f"{path} is damaged: uns/{SIGNATURE} should be JSON") from None
    if found_format != FORMAT:
        raise ValueError(
            f"{path} has format {found_format}, but this phenomae reads format {FORMAT}: "
            "make it anew with this version"
        )
    return signature


def _open(path: Path) -> Any:
    import anndata  # slow to import, and not needed to say that a file is missing

    if not path.is_file():
        raise ValueError(f"{path} is not a map: there is no file of that name")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what a map lacks is said by the room that needs it
            table = anndata.read_h5ad(path)
    except Exception as error:  # on damaged bytes HDF5 and anndata raise whatever they meet
        raise ValueError(f"{path} is not an .h5ad file that can be read: {error}") from None
    if table.X is None:
        raise ValueError(f"{path} has no X, where a map holds its vectors, one row a name")
    return table
