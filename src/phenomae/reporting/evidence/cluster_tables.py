"""Reads the tables of `clusters`: the cluster of each name, sizes, and known sets in them."""

import io
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from phenomae.evaluation.clusters.clusters import KIND
from phenomae.maps.read import ConsensusProfiles
from phenomae.signatures import read_verified

_NAMES = {"name": pl.String(), "cluster": pl.Int64(), "stability": pl.Float64()}
_SIZES = {
    "cluster": pl.Int64(),
    "names": pl.Int64(),
    "jaccard": pl.Float64(),
    "stability": pl.Float64(),
    "members": pl.String(),
}
_ENRICHMENT = {
    "cluster": pl.Int64(),
    "source": pl.String(),
    "set": pl.String(),
    "overlap": pl.Int64(),
    "in_set": pl.Int64(),
    "fdr": pl.Float64(),
}
_STRUCTURE = {"profiles": pl.String(), "modularity": pl.Float64()}
_CHANCE = {
    "clusters": pl.Int64(),
    "enriched": pl.Int64(),
    "shuffled": pl.Float64(),
    "enriched_p": pl.Float64(),
    "n": pl.Int64(),
}


@dataclass(frozen=True)
class ClusterTables:
    """The clusters of a map."""

    identity: str
    labels: list[int]
    """Cluster of each row of the map, 0 for the largest."""
    sizes: pl.DataFrame
    """One row per cluster: cluster, names, jaccard, stability, members."""
    enrichment: pl.DataFrame | None
    """What clusters are enriched for, the lowest p first; None if that was not tested."""
    structure: pl.DataFrame
    """Modularity of the map, then of maps without clusters."""
    chance: pl.DataFrame | None
    """How many clusters are enriched, beside random clusters; None if that was not tested."""


def read_clusters(folder: Path, profiles: ConsensusProfiles) -> ClusterTables:
    """Read the folder that `clusters` wrote for a map.

    Raises ValueError if it is none, or damaged, or of another map.
    """
    signature = read_verified(folder, KIND)
    if signature["sources"].get("map") != profiles.identity:
        raise ValueError(f"{folder} has clusters of another map: give those of this map")
    named = _read(folder / "clusters.csv", _NAMES)
    row_of = dict(zip(named["name"], named["cluster"], strict=True))
    is_tested = (folder / "enrichment.csv").exists()
    return ClusterTables(
        signature["identity"],
        [row_of[name] for name in profiles.names],
        _read(folder / "sizes.csv", _SIZES),
        _read(folder / "enrichment.csv", _ENRICHMENT) if is_tested else None,
        _read(folder / "structure.csv", _STRUCTURE),
        _read(folder / "chance.csv", _CHANCE) if is_tested else None,
    )


def _read(path: Path, columns: dict[str, pl.DataType]) -> pl.DataFrame:
    # Names are read as text: a name may be a number.
    content = path.read_bytes()
    return pl.read_csv(io.BytesIO(content), schema_overrides=columns).select(list(columns))
