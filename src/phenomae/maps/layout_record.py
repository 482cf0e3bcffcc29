"""The layout of a map: points in the plane in `obsm`, and what they were made with in `uns`.

Points are where scanpy keeps those of UMAP, so that its figures find them. The record is beside
that of the map and not in it: a layout changes neither the content of a map nor its identity.
"""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Shaped

from phenomae.signatures import parse_record

KIND = "layout"
POINTS = "X_umap"
"""Key of `obsm` with the points."""
RECORD = "phenomae_layout"
"""Key of `uns` with the settings of the layout, how far it can be trusted, and its checksum."""

Points = Float32[np.ndarray, "g 2"]


def hash_points(points: Points) -> str:
    """Return the SHA-256 of points: 64 hexadecimal digits."""
    # In one byte order on every machine, little endian.
    return hashlib.sha256(np.ascontiguousarray(points, dtype="<f4").data).hexdigest()


def parse_layout(note: str, path: Path) -> dict[str, Any]:
    """Return the record of a layout; raises ValueError if it is damaged."""
    return parse_record(note, path, f"{path}: uns/{RECORD}", KIND)


def read_points(values: Shaped[np.ndarray, "..."] | None, count: int) -> Points | None:
    """Return values of `obsm` as points; None if they are not finite points in the plane."""
    if values is None or values.shape != (count, 2) or values.dtype.kind not in "iuf":
        return None
    points = np.ascontiguousarray(values, dtype=np.float32)
    return points if np.isfinite(points).all() else None


def verify_points(points: Points | None, note: str, identity: str, path: Path) -> None:
    """Raise ValueError unless points are those that a record describes, of the map `identity`."""
    record = parse_layout(note, path)
    if record["sources"].get("map") != identity:
        problem = "is of another map"
    elif points is None or hash_points(points) != record["content"]:
        problem = "is damaged or was edited"
    else:
        return
    raise ValueError(
        f"{path}: its layout (obsm['{POINTS}']) {problem}; make it again with phenomae layout, and "
        "overwrite"
    )
