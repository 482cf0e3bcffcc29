"""The command `layout`: points in the plane for the rows of a map, written into its file."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cyclopts import Parameter
from jaxtyping import Float64

from phenomae import checks
from phenomae.maps.encode import add_layout
from phenomae.maps.layout_record import KIND, POINTS, RECORD, Points, hash_points, parse_layout
from phenomae.maps.optional_packages import require_package
from phenomae.maps.read import ConsensusProfiles, Map, read_map, read_notes_of_map
from phenomae.maps.trustworthiness import expected_by_chance, measure_trustworthiness
from phenomae.maps.umap_points import compute_points
from phenomae.maps.unit_vectors import limit_neighbors, require_different, unit_map
from phenomae.paths import PathLike
from phenomae.progress import announced, count_of, info
from phenomae.signatures import Origin, already_there, record_of, settings_dict
from phenomae.whole_files import remove_abandoned, write_bytes


@Parameter(name="*")
@dataclass(frozen=True)
class LayoutSettings:
    """How UMAP places the rows of a map in a plane."""

    n_neighbors: int = 15
    """Number of nearest rows, itself included, that each row is kept near to. Fewer show small
    groups, more the shape of the whole."""
    min_dist: float = 0.1
    """Minimum distance of points; with 0 groups are as dense as they can be."""
    seed: int = 0
    """Seed of UMAP."""

    def __post_init__(self) -> None:
        """Raise ValueError, naming the setting, if a value is outside its range."""
        checks.whole_numbers(self)
        checks.at_least("n_neighbors", self.n_neighbors, 2)
        checks.between("min_dist", self.min_dist, 0, 1, ends=True)
        checks.between("seed", self.seed, 0, 2**32 - 1, ends=True)


def layout(
    map_path: PathLike,
    /,
    *,
    settings: LayoutSettings = LayoutSettings(),
    overwrite: bool = False,
) -> Map:
    """Compute points in the plane for the rows of a map by UMAP, and write them into its file.

    They are `obsm["X_umap"]` of the file, where scanpy keeps them. The map and its identity stay
    the same, so that its benchmarks stay valid. Rows are compared by their cosines. Prints how far
    the points can be trusted.

    Parameters
    ----------
    map_path
        An .h5ad file written by `map`.
    overwrite
        Replace a layout that was made with other settings.

    Raises
    ------
    ValueError
        If phenomae did not write the map, it has fewer than 4 rows, a row is NaN, infinite or all
        0, all rows are alike, or it has a layout with other settings.
    """
    path = Path(map_path)
    path = path.resolve() if path.is_symlink() else path
    profiles = read_map(path, with_layout=not overwrite)
    _require_ours(profiles, path)
    origin = Origin(KIND, settings_dict(settings), {"map": profiles.identity})
    remove_abandoned(path)
    if not overwrite and _is_done(path, origin, profiles.layout):
        return Map(path)
    umap = require_package("umap-learn", "umap", "a layout needs")
    unit = unit_map(profiles, path)
    require_different(unit, path, "a layout needs")
    near = limit_neighbors(settings.n_neighbors, len(unit), path)
    with announced(
        f"{path}: computing a UMAP of {count_of(len(unit), 'row')} from their {near} nearest rows; "
        "umap-learn is compiled first"
    ):
        points = compute_points(unit, near, settings.min_dist, settings.seed)
    _require_points(points, profiles.names, path)
    record = record_of(origin, hash_points(points), umap=umap, **_trust(unit, points, settings))
    _write(path, origin, points, record)
    info(_describe(path, record, len(unit)))
    return Map(path)


def _require_ours(profiles: ConsensusProfiles, path: Path) -> None:
    if profiles.signature is None:
        raise ValueError(
            f"{path} was not made by phenomae map, and is not changed: in scanpy, call "
            "sc.pp.neighbors(adata, use_rep='X', metric='cosine') and sc.tl.umap(adata), and write "
            f"the file; obsm['{POINTS}'] is then read as its layout"
        )


def _is_done(path: Path, origin: Origin, points: Points | None) -> bool:
    """Return whether a map has the layout of this origin; raises ValueError if it has another."""
    note = read_notes_of_map(path).get(RECORD)
    if note is None:
        if points is not None:
            raise ValueError(
                f"{path} has a layout (obsm['{POINTS}']) that other software computed: overwrite "
                "replaces it"
            )
        return False
    record = parse_layout(note, path)
    for name, new in origin.settings.items():
        if (old := record["settings"].get(name)) != new:
            raise ValueError(
                f"{path} has a layout with another setting: {name} = {old!r}, now {new!r}; "
                "overwrite replaces it"
            )
    info(already_there(f"the layout of {path}", record))
    info(_describe(path, record, 0 if points is None else len(points)))
    return True


def _require_points(points: Points, names: list[str], path: Path) -> None:
    if left_out := np.flatnonzero(~np.isfinite(points).all(axis=1)).tolist():
        shown = ", ".join(names[row] for row in left_out[:5])
        raise ValueError(
            f"{path} has rows that are opposite to their nearest rows, to which UMAP gives no "
            f"points: {shown} ({len(left_out)} in total); lower n_neighbors, or leave them out"
        )


def _trust(
    unit: Float64[np.ndarray, "g d"], points: Points, settings: LayoutSettings
) -> dict[str, Any]:
    """Return what the record has of the trustworthiness.

    It is rounded, so that the last bits of cosines, which differ between machines, do not show.
    """
    k = min(settings.n_neighbors, (len(unit) - 1) // 2)
    return {
        "trustworthiness": round(measure_trustworthiness(unit, points, k), 6),
        "trustworthiness_by_chance": round(expected_by_chance(len(unit), k), 6),
        "trustworthiness_neighbors": k,
    }


def _write(path: Path, origin: Origin, points: Points, record: dict[str, Any]) -> None:
    """Write the points into the map, unless it was replaced since they were computed."""
    if read_map(path, with_layout=False).identity != origin.sources["map"]:
        raise ValueError(f"{path} was replaced while its layout was computed: run this again")
    content = add_layout(path.read_bytes(), {POINTS: points}, {RECORD: json.dumps(record)})
    write_bytes(path, content)


def _describe(path: Path, record: dict[str, Any], rows: int) -> str:
    k, trust, chance = (
        record[f"trustworthiness{part}"] for part in ("_neighbors", "", "_by_chance")
    )
    return (
        f"{path}: layout of {count_of(rows, 'row')}, trustworthiness {trust:.3f} (k = {k}): it is "
        f"1 where the nearest points are the nearest profiles, and {chance:.3f} for points that "
        "have nothing to do with the profiles"
    )
