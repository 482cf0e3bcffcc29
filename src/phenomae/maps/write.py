"""Writes a map as an AnnData file, the same bytes from the same work."""

import io
import json
from dataclasses import asdict
from pathlib import Path

from phenomae import __version__
from phenomae.artefacts import FORMAT, Origin, require_same_work, write_bytes
from phenomae.maps.aggregate import Aggregate
from phenomae.maps.read import SIGNATURE, read_signature_of_map
from phenomae.progress import info
from phenomae.records import feature_names


def write_map(map_path: Path, rows: Aggregate, origin: Origin) -> None:
    """Write the rows under their names, the columns of `counts` as obs, and what made them."""
    map_path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(map_path, _encode(rows, origin))


def is_done(map_path: Path, origin: Origin, overwrite: bool) -> bool:
    """Say whether the same map is there; raises ValueError where it is another one.

    What phenomae did not make is not replaced, `overwrite` or not.
    """
    if not map_path.exists():
        return False
    signature = read_signature_of_map(map_path)
    if signature is None:
        raise ValueError(f"{map_path} was not made by phenomae: choose another name")
    if overwrite:
        return False
    require_same_work(map_path, signature, origin)
    info(f"{map_path} is already there, made with the same settings (--overwrite makes it anew)")
    return True


def _encode(rows: Aggregate, origin: Origin) -> bytes:
    """Return the bytes of the .h5ad file."""
    import h5py
    from anndata import AnnData
    from anndata.io import write_elem

    signature = {"format": FORMAT, **asdict(origin), "identity": origin.identity}
    columns = rows.counts.columns
    table = AnnData(
        rows.features,
        obs={"obs_names": rows.names, **{name: rows.counts[name].to_numpy() for name in columns}},
        var={"var_names": feature_names(rows.features.shape[1])},
        uns={SIGNATURE: json.dumps(signature | {"version": __version__})},
    )
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        write_elem(file, "/", table)
    return buffer.getvalue()
