"""Writes a map as an AnnData file; the same settings and wells give the same bytes."""

import json
from dataclasses import asdict
from pathlib import Path

from phenomae import __version__
from phenomae.artefacts import FORMAT, Origin, require_same_work, write_bytes
from phenomae.maps.aggregate import Aggregate
from phenomae.maps.encode import encode_h5ad
from phenomae.maps.read import SIGNATURE, read_signature_of_map
from phenomae.progress import info
from phenomae.records import feature_names


def write_map(map_path: Path, rows: Aggregate, origin: Origin) -> None:
    """Write the rows as X, the columns of `rows.counts` as obs, and the origin into uns."""
    map_path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(map_path, _encode(rows, origin))


def is_done(map_path: Path, origin: Origin, overwrite: bool) -> bool:
    """Return whether `map_path` already has the map of this origin.

    Raises ValueError if `map_path` has another map and `overwrite` is False, or if phenomae did not
    write the file, which is then never replaced.
    """
    if not map_path.exists():
        return False
    signature = read_signature_of_map(map_path)
    if signature is None:
        raise ValueError(f"{map_path} was not made by phenomae: choose another name")
    if overwrite:
        return False
    require_same_work(map_path, signature, origin)
    info(f"{map_path} is already there, made with the same settings (overwrite replaces it)")
    return True


def _encode(rows: Aggregate, origin: Origin) -> bytes:
    """Return the bytes of the .h5ad file."""
    signature = {"format": FORMAT, **asdict(origin), "identity": origin.identity}
    # The version is only information: `origin.identity` does not depend on it.
    return encode_h5ad(
        rows.features,
        obs={name: rows.counts[name].to_numpy() for name in rows.counts.columns},
        obs_names=rows.names,
        var_names=feature_names(rows.features.shape[1]),
        uns={SIGNATURE: json.dumps(signature | {"version": __version__})},
    )
