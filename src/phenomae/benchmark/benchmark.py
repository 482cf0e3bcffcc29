"""The command `benchmark`: a map and known pairs in, how many of them it finds out."""

from pathlib import Path

import numpy as np
from jaxtyping import Int

from phenomae.artefacts import Origin, artefact_folder, hash_json, settings_dict, write_bytes
from phenomae.benchmark.annotations import Source, pairs_on_map, read_sources
from phenomae.benchmark.recall import Percentiles
from phenomae.benchmark.relationships import measure
from phenomae.benchmark.settings import BenchmarkSettings, check_percentiles
from phenomae.benchmark.tables import print_table
from phenomae.maps.read import Map, read_map
from phenomae.progress import say

KIND = "results"


def benchmark(
    map_path: Path,
    results: Path,
    /,
    *,
    settings: BenchmarkSettings,
    overwrite: bool = False,
) -> None:
    """Tell how many known pairs lie among a map's most similar and most opposite pairs.

    Writes recall.csv, curve.csv (recall across percentiles) and, with --shuffle, shuffled.csv, and
    prints recall.csv as a table.

    Parameters
    ----------
    map_path
        An .h5ad file, as `map` wrote it, or any other with one row a gene.
    results
        Folder to write.
    overwrite
        Replace `results` where it was made with other settings.

    Raises ValueError where the map or the annotations cannot be used; the sentence says why.
    """
    percentiles = check_percentiles(settings)
    sources = read_sources(settings.annotations)
    genes = read_map(map_path)
    check_map(genes, map_path, percentiles)
    pairs = find_pairs(sources, genes.names, settings.annotations)
    # Where the annotations lie does not matter, but what they say does.
    checksums = hash_json({source.name: source.checksum for source in sources})
    origin = Origin(
        KIND,
        {key: value for key, value in settings_dict(settings).items() if key != "annotations"},
        {"map": genes.identity, "annotations": checksums},
    )
    with artefact_folder(results, origin, overwrite) as folder:
        if folder is not None:
            for name, table in measure(genes, pairs, percentiles, settings).items():
                write_bytes(folder / name, table.write_csv().encode())
    print_table(results)


def check_map(genes: Map, path: Path, percentiles: list[Percentiles]) -> None:
    """Raise ValueError where the cosines of the map are undefined or too few."""
    if twice := [name for name, count in _counts(genes.names).items() if count > 1]:
        raise ValueError(f"{path} has {twice[0]} more than once: expected one row a name")
    for what, broken in (
        ("features that are NaN or infinite", ~np.isfinite(genes.features).all(axis=1)),
        ("no feature but 0, so no cosine", ~genes.features.any(axis=1)),
    ):
        if rows := np.flatnonzero(broken).tolist():
            names = ", ".join(genes.names[row] for row in rows[:5])
            raise ValueError(f"{path} has rows with {what}: {names} ({len(rows)} of them)")
    check_count(len(genes.names), path, percentiles)


def check_count(count: int, path: Path, percentiles: list[Percentiles]) -> None:
    """Raise ValueError where so many genes make fewer pairs than a share of them can be found."""
    pairs = count * (count - 1) // 2
    shares = [share for low, high in percentiles for share in (low, 1 - high)]
    smallest = min((share for share in shares if share > 0), default=1.0)
    if pairs * smallest < 1:
        raise ValueError(
            f"{path} has {count} genes, too few: {100 * smallest:.3g} % of the pairs they make "
            f"({pairs}) is less than one pair; bring more genes"
        )


def _counts(names: list[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return counts


def find_pairs(
    sources: list[Source], names: list[str], path: Path
) -> dict[str, Int[np.ndarray, "pairs 2"]]:
    """Return the pairs of the sources that have any on a map of these names; says which have none.

    Raises ValueError where none has.
    """
    pairs = {source.name: pairs_on_map(source, names) for source in sources}
    if not any(len(known) for known in pairs.values()):
        raise ValueError(
            f"{path}: none of the annotated pairs has both its genes on the map, which holds names "
            f"like {', '.join(names[:3])}"
        )
    for name, known in pairs.items():
        if not len(known):
            say(f"{name} is passed over: none of its pairs has both genes on the map")
    return {name: known for name, known in pairs.items() if len(known)}
