"""The command `benchmark`: a map and known pairs in, how many of them it finds out."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Int

from phenomae.artefacts import Origin, artefact_folder, hash_json, settings_dict, write_bytes
from phenomae.evaluation.annotations import (
    Source,
    pairs_on_map,
    read_aliases,
    read_sources,
    rename_genes,
    resolve_names,
    unknown_genes,
)
from phenomae.evaluation.recall.recall import Percentiles, tail_ranks
from phenomae.evaluation.recall.recall_tables import measure
from phenomae.evaluation.recall.tables import print_table
from phenomae.evaluation.settings import BenchmarkSettings, check_percentiles
from phenomae.maps.read import ConsensusProfiles, read_map
from phenomae.maps.unit_vectors import require_directions
from phenomae.progress import info

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

    Writes recall.csv, curve.csv (recall across percentiles), unknown_genes.csv (names of the map
    that no source has) and, with --shuffle, shuffled.csv, and prints recall.csv as a table.

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
    genes, sources = read_map(map_path), read_sources(settings.annotations)
    aliases = {} if settings.aliases is None else read_aliases(settings.aliases)
    check_map(genes, map_path, percentiles)
    genes = replace(genes, names=resolve_names(genes.names, aliases))
    sources = [rename_genes(source, aliases) for source in sources]
    pairs = find_pairs(sources, genes.names, settings.annotations)
    unknown = unknown_genes(sources, genes.names)
    if unknown:
        info(
            f"{len(unknown)} of {len(genes.names)} names of the map are in no source, like "
            f"{', '.join(unknown[:3])}: unknown_genes.csv lists them, and --aliases can rename them"
        )
    with artefact_folder(results, _origin(settings, sources, aliases, genes), overwrite) as folder:
        if folder is not None:
            tables = measure(genes, pairs, percentiles, settings)
            tables["unknown_genes.csv"] = pl.DataFrame({"gene": unknown}, {"gene": pl.String})
            for name, table in tables.items():
                write_bytes(folder / name, table.write_csv().encode())
    print_table(results)


def _origin(
    settings: BenchmarkSettings,
    sources: list[Source],
    aliases: dict[str, str],
    genes: ConsensusProfiles,
) -> Origin:
    """Return what makes the results: not where the annotations lie, but what they say."""
    checksums = {source.name: source.checksum for source in sources}
    of_files = {"annotations": hash_json(checksums)}
    if aliases:
        of_files["aliases"] = hash_json(aliases)
    plain = {
        name: value
        for name, value in settings_dict(settings).items()
        if name not in ("annotations", "aliases")
    }
    return Origin(KIND, plain, {"map": genes.identity, **of_files})


def check_map(genes: ConsensusProfiles, path: Path, percentiles: list[Percentiles]) -> None:
    """Raise ValueError where the cosines of the map are undefined or too few."""
    require_directions(genes, path)
    check_count(len(genes.names), path, percentiles)


def check_count(count: int, where: Path | str, percentiles: list[Percentiles]) -> None:
    """Raise ValueError, naming `where` they are, where a share of so many genes' pairs is none."""
    pairs = count * (count - 1) // 2
    ranks = tail_ranks(pairs, percentiles).tolist()
    shares = [low for low, _ in percentiles] + [1 - high for _, high in percentiles]
    sizes = ranks[: len(percentiles)] + [pairs - 1 - rank for rank in ranks[len(percentiles) :]]
    empty = [share for share, size in zip(shares, sizes, strict=True) if share > 0 and size < 1]
    if empty:
        raise ValueError(
            f"{where} has {count} genes, too few: {100 * min(empty):.3g} % of the pairs they make "
            f"({pairs}) is less than one pair; bring more genes"
        )


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
            info(f"{name} is passed over: none of its pairs has both genes on the map")
    return {name: known for name, known in pairs.items() if len(known)}
