"""The command `benchmark`: recall of known relationships on a map.

This is the "Relate" step of EFAAR (Celik et al. 2024). Recall is the fraction of annotated gene
pairs that are among the most similar or most opposite pairs of the map.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Int

from phenomae.artefacts import Origin, artefact_folder, hash_json, settings_dict, write_bytes
from phenomae.evaluation.annotations import (
    Annotation,
    pairs_on_map,
    read_aliases,
    read_annotations,
    rename_genes,
    resolve_names,
    unknown_genes,
)
from phenomae.evaluation.baseline_maps import name_baselines, read_baseline
from phenomae.evaluation.learned import print_baselines, write_learned
from phenomae.evaluation.recall.recall import Percentiles, tail_ranks
from phenomae.evaluation.recall.recall_tables import measure
from phenomae.evaluation.recall.tables import print_table
from phenomae.evaluation.results import Results
from phenomae.evaluation.settings import BenchmarkSettings
from phenomae.maps.read import ConsensusProfiles, read_map
from phenomae.maps.unit_vectors import require_directions
from phenomae.paths import PathLike
from phenomae.progress import info

KIND = "results"


def benchmark(
    map_path: PathLike,
    results: PathLike,
    /,
    *,
    settings: BenchmarkSettings,
    overwrite: bool = False,
) -> Results:
    """Compute the recall of known gene pairs among a map's most similar and most opposite pairs.

    Writes recall.csv, curve.csv (recall across percentiles), unknown_genes.csv (names of the map
    that are in no annotation), with `shuffle` shuffled.csv (the null distribution) and with
    `baseline` baselines.csv and learned.json (whether the map has more than features without
    learning). Prints recall.csv and baselines.csv as tables.

    Parameters
    ----------
    map_path
        An .h5ad file written by `map`, or any other AnnData file with one row per gene.
    results
        Folder to write.
    overwrite
        Replace `results` if it was made with other settings.

    Raises ValueError if the map, a baseline or the annotations cannot be used.
    """
    path, folder = Path(map_path), Path(results)
    profiles, annotations = read_map(path), read_annotations(settings.annotations)
    aliases = {} if settings.aliases is None else read_aliases(Path(settings.aliases))
    # All checks come before the results folder is created, so invalid input leaves no files.
    check_map(profiles, path, settings.percentiles)
    # Aliases may occur on the map and in the annotations, so both are translated.
    profiles = replace(profiles, names=resolve_names(profiles.names, aliases))
    annotations = [rename_genes(annotation, aliases) for annotation in annotations]
    pairs = find_pairs(annotations, profiles.names, settings.annotations)
    baselines = {
        name: read_baseline(name, baseline, profiles.names, path, aliases)
        for name, baseline in name_baselines(settings.baseline).items()
    }
    unknown = unknown_genes(annotations, profiles.names)
    if unknown:
        _report_unknown(unknown, len(profiles.names))
    origin = _origin(settings, annotations, aliases, profiles, baselines)
    with artefact_folder(folder, origin, overwrite) as partial:
        if partial is not None:
            tables = measure(profiles, pairs, settings.percentiles, settings, baselines)
            tables["unknown_genes.csv"] = pl.DataFrame({"gene": unknown}, {"gene": pl.String})
            for name, table in tables.items():
                write_bytes(partial / name, table.write_csv().encode())
            if baselines:
                shuffled = settings.shuffle > 0
                write_learned(partial, tables["baselines.csv"], list(baselines), shuffled)
    # Read back from disk, so that results of an earlier identical call print the same table.
    print_table(folder)
    if baselines:
        print_baselines(folder)
    return Results(folder)


def _report_unknown(unknown: list[str], count: int) -> None:
    info(
        f"{len(unknown)} of {count} names of the map are in no annotation, like "
        f"{', '.join(unknown[:3])}: unknown_genes.csv lists them, and aliases can rename them"
    )


def _origin(
    settings: BenchmarkSettings,
    annotations: list[Annotation],
    aliases: dict[str, str],
    profiles: ConsensusProfiles,
    baselines: dict[str, ConsensusProfiles],
) -> Origin:
    """Return the origin of the results, in which files are identified by content, not by path."""
    checksums = {annotation.name: annotation.checksum for annotation in annotations}
    of_files = {"annotations": hash_json(checksums)}
    # Recorded only if given, so that results from before this setting keep their identity.
    if aliases:
        of_files["aliases"] = hash_json(aliases)
    plain = {
        name: value
        for name, value in settings_dict(settings).items()
        if name not in ("annotations", "aliases", "baseline")
    }
    of_files |= {f"baseline {name}": its.identity for name, its in baselines.items()}
    return Origin(KIND, plain, {"map": profiles.identity, **of_files})


def check_map(profiles: ConsensusProfiles, path: Path, percentiles: list[Percentiles]) -> None:
    """Raise ValueError if a row of the map has no cosine, or a tail has less than one pair."""
    require_directions(profiles, path)
    check_count(len(profiles.names), path, percentiles)


def check_count(count: int, where: Path | str, percentiles: list[Percentiles]) -> None:
    """Raise ValueError if a tail of the pairs of `count` genes has less than one pair.

    `where` says in the error message which genes these are: the path of a map, for example.
    """
    pairs = count * (count - 1) // 2
    ranks = tail_ranks(pairs, percentiles).tolist()
    # The ranks that recall uses: a separate check in floating point could differ by one pair.
    shares = [low for low, _ in percentiles] + [1 - high for _, high in percentiles]
    sizes = ranks[: len(percentiles)] + [pairs - 1 - rank for rank in ranks[len(percentiles) :]]
    empty = [share for share, size in zip(shares, sizes, strict=True) if share > 0 and size < 1]
    if empty:
        raise ValueError(
            f"{where} has {count} genes, too few: {100 * min(empty):.3g} % of all pairs ({pairs}) "
            "is less than one pair; use more genes"
        )


def find_pairs(
    annotations: list[Annotation], names: list[str], path: PathLike
) -> dict[str, Int[np.ndarray, "pairs 2"]]:
    """Return the known pairs of each annotation, as row indices of a map with these names.

    Annotations without a pair on the map are skipped and logged. `path` is named in errors. Raises
    ValueError if no annotation has a pair on the map.
    """
    pairs = {annotation.name: pairs_on_map(annotation, names) for annotation in annotations}
    if not any(len(known) for known in pairs.values()):
        raise ValueError(
            f"{path}: no annotated pair has both its genes on the map, which has names like "
            f"{', '.join(names[:3])}"
        )
    for name, known in pairs.items():
        if not len(known):
            info(f"{name} is skipped: none of its pairs has both genes on the map")
    return {name: known for name, known in pairs.items() if len(known)}
