"""The command `clusters`: groups of names that are alike, how stable, and known for what."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from cyclopts import Parameter
from jaxtyping import Float64

from phenomae import checks
from phenomae.artefacts import artefact_folder
from phenomae.evaluation.annotations import Annotation, hash_annotations, read_annotations
from phenomae.evaluation.clusters.known_sets import largest, sets_on_map
from phenomae.evaluation.clusters.leiden import Labels, build_graph, find_clusters
from phenomae.evaluation.clusters.no_clusters import draw_normal
from phenomae.evaluation.clusters.set_enrichment import KnownSets
from phenomae.evaluation.clusters.stability import Stability, measure_stability
from phenomae.evaluation.clusters.summary import print_summary
from phenomae.evaluation.settings import check_level
from phenomae.maps.optional_packages import require_package
from phenomae.maps.read import ConsensusProfiles, read_map
from phenomae.maps.unit_vectors import (
    limit_neighbors,
    require_different,
    unit_map,
    unit_rows,
)
from phenomae.outputs import TablesOutput
from phenomae.paths import PathLike
from phenomae.progress import count_of, tracked
from phenomae.signatures import Origin, settings_dict
from phenomae.whole_files import hash_file, hash_json, write_bytes

KIND = "clusters"


class Clusters(TablesOutput):
    """A folder with the clusters of a map, as `clusters` writes it."""

    def counts(self) -> str:
        """Return the numbers of clusters and names."""
        sizes = self.to_polars("sizes")
        names = count_of(int(sizes["names"].sum()), "name")
        return f"{count_of(len(sizes), 'cluster')}, {names}"


@Parameter(name="*")
@dataclass(frozen=True)
class ClustersSettings:
    """How names are clustered, and which known sets clusters are tested for."""

    n_neighbors: int = 15
    """Number of nearest rows, itself included, that each row is joined to in the graph."""
    resolution: float = 1.0
    """Resolution of the modularity: more than 1 for more and smaller clusters."""
    seeds: int = 10
    """Number of runs, with other seeds, that stability is measured over; 1 for none."""
    seed: int = 0
    """Seed of the first run, whose clusters are listed. The others have the next seeds."""
    normal_maps: int = 5
    """Number of maps without clusters that modularity is compared with: profiles from one normal
    distribution of the same mean and covariance."""
    annotations: PathLike | None = None
    """File of known sets or pairs, or folder of such files: clusters are tested for having more
    names of a set than random clusters."""
    complexes: PathLike | None = None
    """File of known sets, one per line: name, tab, genes separated by blanks; .gmt too."""
    min_genes: int = 5
    """Minimum number of names of a set on the map; other sets are not tested."""
    level: float = 0.05
    """False discovery rate up to which a cluster counts as enriched for a set."""
    shuffles: int = 100
    """Number of random clusterings of the same sizes that are tested as well."""

    def __post_init__(self) -> None:
        """Raise ValueError, naming the setting, if a value is outside its range."""
        checks.whole_numbers(self)
        checks.at_least("n_neighbors", self.n_neighbors, 2)
        checks.above("resolution", self.resolution, 0)
        checks.at_least("seeds", self.seeds, 1)
        checks.between("seed", self.seed, 0, 2**32 - 1 - self.seeds, ends=True)
        checks.at_least("normal_maps", self.normal_maps, 0)
        checks.at_least("min_genes", self.min_genes, 2)
        check_level(self.level)
        checks.at_least("shuffles", self.shuffles, 1)


def clusters(
    map_path: PathLike,
    out: PathLike,
    /,
    *,
    settings: ClustersSettings = ClustersSettings(),
    overwrite: bool = False,
) -> Clusters:
    """Cluster the names of a map, and find which known sets are in the clusters.

    A graph of nearest neighbors by cosine and the Leiden algorithm, called as scanpy calls them.
    Writes the tables clusters, sizes, agreement and structure, with known sets also enrichment and
    chance, and prints the largest clusters, how far they can be relied on, and what they are
    enriched for.

    Parameters
    ----------
    map_path
        An .h5ad file written by `map`, or any other AnnData file with one row per name.
    out
        Folder to write.
    overwrite
        Replace `out` if it was made with other settings.

    Raises
    ------
    ValueError
        If the map, annotations or complexes cannot be used, the map has fewer than 4 rows or rows
        that are all alike, or no known set has enough names on the map.
    """
    path = Path(map_path)
    require_package("umap-learn", "umap", "clusters need")
    require_package("igraph", "igraph", "clusters need")
    profiles = read_map(path)
    lists = _read_lists(settings)
    sources = {"map": profiles.identity, **_hash_files(lists, settings)}
    origin = Origin(KIND, _recorded(settings), sources)
    with artefact_folder(Path(out), origin, overwrite, resume=False) as folder:
        if folder is not None:
            # First, because a file that does not fit the map is an error.
            known = _find_sets(lists, profiles, path, settings)
            tables = _cluster(profiles, path, known, settings)
            for name, table in tables.items():
                write_bytes(folder / f"{name}.csv", table.write_csv().encode())
            print_summary(tables, settings.level)
    return Clusters(Path(out))


def _read_lists(settings: ClustersSettings) -> list[Annotation]:
    if settings.annotations is None:
        return []
    return read_annotations(settings.annotations, as_sets=True)


def _recorded(settings: ClustersSettings) -> dict[str, Any]:
    values = settings_dict(settings)
    for name in ("annotations", "complexes"):  # the files are sources, by their content
        del values[name]
    return values


def _hash_files(lists: list[Annotation], settings: ClustersSettings) -> dict[str, str]:
    sources = {}
    if lists:
        sources["annotations"] = hash_annotations(lists)
    if settings.complexes is not None:
        file = Path(settings.complexes)
        if not file.is_file():
            raise ValueError(f"{file}: there is no such file of complexes")
        sources["complexes"] = hash_json([file.stem, hash_file(file)])
    return sources


def _cluster(
    profiles: ConsensusProfiles, path: Path, known: KnownSets | None, settings: ClustersSettings
) -> dict[str, pl.DataFrame]:
    """Return the tables of the folder by name."""
    unit = unit_map(profiles, path)
    require_different(unit, path, "clusters need")
    near = limit_neighbors(settings.n_neighbors, len(unit), path)
    graph = build_graph(unit, near)
    seeds = range(settings.seed, settings.seed + settings.seeds)
    found, modularities = zip(*find_clusters(graph, settings.resolution, seeds), strict=True)
    labels = number_by_size(found[0])
    stability = measure_stability([labels, *found[1:]])
    tables = _describe(profiles, labels, stability)
    shift = pl.col("first", "second") + settings.seed
    tables["agreement"] = stability.pairs.with_columns(shift).rename(
        {"first": "seed", "second": "other_seed"}
    )
    own = ("map", 0, int(labels.max()) + 1, modularities[0])
    rows = [own, *_cluster_normal(unit, near, settings)]
    columns = ["profiles", "draw", "clusters", "modularity"]
    tables["structure"] = pl.DataFrame(rows, columns, orient="row")
    return tables if known is None else tables | _enrich(known, labels, profiles.names, settings)


def _cluster_normal(
    unit: Float64[np.ndarray, "g d"], near: int, settings: ClustersSettings
) -> Iterator[tuple[str, int, int, float]]:
    """Yield what is found without clusters: number of the draw, of clusters, modularity."""
    draws = range(1, settings.normal_maps + 1)
    for draw in tracked(draws, "without clusters", len(draws), "maps"):
        graph = build_graph(unit_rows(draw_normal(unit, (settings.seed, 1, draw))), near)
        [(labels, modularity)] = find_clusters(graph, settings.resolution, range(1))
        yield "normal", draw, int(labels.max()) + 1, modularity


def number_by_size(labels: Labels) -> Labels:
    """Return labels 0, 1, ... of the same clusters, the largest first; equal ones by first row."""
    _, first, inverse, sizes = np.unique(
        labels, return_index=True, return_inverse=True, return_counts=True
    )
    order = np.lexsort((first, -sizes))
    return np.argsort(order)[inverse]


def _find_sets(
    lists: list[Annotation], profiles: ConsensusProfiles, path: Path, settings: ClustersSettings
) -> KnownSets | None:
    """Return the known sets that are tested; None if none are given."""
    if not lists and settings.complexes is None:
        return None
    sets = sets_on_map(lists, settings.complexes, profiles.names)
    known = KnownSets(sets, settings.min_genes)
    if not known.count:
        files = " and ".join(
            str(file) for file in (settings.annotations, settings.complexes) if file is not None
        )
        raise ValueError(
            f"{files}: no set has {settings.min_genes} names on the map {path}, which has names "
            f"like {', '.join(profiles.names[:3])}; the most are {largest(sets)}: set min_genes "
            "lower, or use names like those of the map"
        )
    return known


def _describe(
    profiles: ConsensusProfiles, labels: Labels, stability: Stability
) -> dict[str, pl.DataFrame]:
    """Return the tables of names and of clusters."""
    obs = profiles.obs
    is_known = "control" in obs.columns and obs["control"].dtype == pl.Boolean
    control = obs["control"] if is_known else pl.Series([None] * len(labels), dtype=pl.Boolean)
    names = pl.DataFrame(
        {
            "name": profiles.names,
            "cluster": labels,
            "stability": stability.names,
            "control": control,
        },
        nan_to_null=True,
    ).sort("cluster", "name")
    sizes = names.group_by("cluster", maintain_order=True).agg(
        names=pl.len(),
        controls=pl.col("control").sum() if is_known else pl.lit(None, pl.Int64),
        stability=pl.col("stability").mean(),
        members=pl.col("name").str.join(" | "),
    )
    jaccard = pl.DataFrame(
        {"cluster": np.arange(len(sizes)), "jaccard": stability.clusters},
        nan_to_null=True,
    )
    columns = ["cluster", "names", "controls", "jaccard", "stability", "members"]
    return {"clusters": names, "sizes": sizes.join(jaccard, on="cluster").select(columns)}


def _enrich(
    known: KnownSets, labels: Labels, names: list[str], settings: ClustersSettings
) -> dict[str, pl.DataFrame]:
    """Return what clusters are enriched for, and how many random clusters of their sizes are."""
    table, tests = known.enrichment(labels, names)
    enriched, lowest = known.summarize(labels, settings.level)
    draws = [
        known.summarize(
            np.random.default_rng([settings.seed, draw]).permutation(labels), settings.level
        )
        for draw in tracked(range(settings.shuffles), "sets", settings.shuffles, "shuffles")
    ]
    counts, minima = map(np.array, zip(*draws, strict=True))
    chance = {
        "clusters": int(labels.max()) + 1,
        "sets": known.count,
        "tests": tests,
        "enriched": enriched,
        "shuffled": float(counts.mean()),
        "enriched_p": (1 + int((counts >= enriched).sum())) / (1 + settings.shuffles),
        "lowest": lowest,
        "lowest_p": (1 + int((minima <= lowest).sum())) / (1 + settings.shuffles),
        "n": settings.shuffles,
    }
    return {"enrichment": table, "chance": pl.DataFrame([chance])}
