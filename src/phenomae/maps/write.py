"""Writes a map as an AnnData file; the same settings and wells give the same bytes."""

import json
from pathlib import Path

from phenomae.artefacts import refuse_inside
from phenomae.maps.aggregate import Aggregate
from phenomae.maps.content import hash_content
from phenomae.maps.encode import encode_h5ad
from phenomae.maps.read import SIGNATURE, read_map, read_record_of_map
from phenomae.progress import info
from phenomae.signatures import Origin, already_there, record_of, require_same_work
from phenomae.whole_files import remove_abandoned, write_bytes


def write_map(
    map_path: Path, rows: Aggregate, variables: list[str], origin: Origin, overwrite: bool
) -> None:
    """Write the rows as X, the columns of `rows.counts` as obs, and the origin into uns.

    `variables` are the names of the features.

    Without `overwrite` a map that appears meanwhile is kept. Raises ValueError if it is another.
    """
    map_path.parent.mkdir(parents=True, exist_ok=True)
    content = _encode(rows, variables, origin)
    try:
        write_bytes(map_path, content, replace=overwrite)
    except FileExistsError:  # another call was faster
        if not is_done(map_path, origin, overwrite=False):
            raise


def is_done(map_path: Path, origin: Origin, overwrite: bool) -> bool:
    """Return whether `map_path` already has the map of this origin.

    Raises ValueError if `map_path` has another map and `overwrite` is False, or if phenomae did not
    write the file, which is then never replaced.
    """
    refuse_inside(map_path)
    if map_path.parent.is_dir():
        remove_abandoned(map_path)
    if not map_path.exists():
        return False
    signature = read_record_of_map(map_path)
    if signature is None:
        raise ValueError(f"{map_path} was not made by phenomae: choose another name")
    if overwrite:
        return False
    require_same_work(map_path, signature, origin)
    read_map(map_path)  # raises if it is damaged
    info(already_there(map_path, signature))
    return True


def _encode(rows: Aggregate, variables: list[str], origin: Origin) -> bytes:
    """Return the bytes of the .h5ad file."""
    content = hash_content(rows.features, rows.names, rows.counts, variables, [])
    return encode_h5ad(
        rows.features,
        obs={name: rows.counts[name].to_numpy() for name in rows.counts.columns},
        obs_names=rows.names,
        var_names=variables,
        uns={SIGNATURE: json.dumps(record_of(origin, content))},
    )
