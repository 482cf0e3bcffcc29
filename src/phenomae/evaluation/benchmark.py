"""The command `benchmark`: recall of known relationships on a map.

This is the "Relate" step of EFAAR (Celik et al. 2024). Recall is the fraction of annotated gene
pairs that are among the most similar or most opposite pairs of the map.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Int

from phenomae.artefacts import artefact_folder
from phenomae.evaluation.annotations import (
    Annotation,
    hash_annotations,
    pairs_on_map,
    read_aliases,
    read_annotations,
    rename_genes,
    resolve_names,
    say_dates,
    unknown_genes,
)
from phenomae.evaluation.baseline_maps import (
    kinds_of,
    name_baselines,
    read_baseline,
    report_assumed_kinds,
    without_learning,
)
from phenomae.evaluation.learned import (
    headline,
    print_learned,
    read_baselines,
    write_learned,
)
from phenomae.evaluation.recall.baselines import find_learned
from phenomae.evaluation.recall.mean_cosines import MeanCosines
from phenomae.evaluation.recall.precision import (
    PRECISION_FILE,
    measure_precision,
    print_precision,
    usable_neighbors,
)
from phenomae.evaluation.recall.recall import Percentiles, empty_tail
from phenomae.evaluation.recall.recall_tables import measure
from phenomae.evaluation.recall.tables import print_table
from phenomae.evaluation.recall.tier_tables import check_tiers, measure_tiers, print_tiers
from phenomae.evaluation.results import Results
from phenomae.evaluation.settings import BenchmarkSettings
from phenomae.evaluation.tier_wells import WellsOfMap, read_wells_of_map
from phenomae.maps.read import ConsensusProfiles, read_map
from phenomae.maps.unit_vectors import require_directions, unit_rows
from phenomae.paths import PathLike
from phenomae.progress import count_of, info
from phenomae.signatures import Origin, settings_dict
from phenomae.whole_files import hash_json, write_bytes

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

    Writes recall.csv, curve.csv (recall across percentiles), precision.csv (the fraction of nearest
    neighbors that are known partners), known_pairs.csv, unknown_genes.csv (names of the map that
    are in no annotation), with `shuffle` shuffled.csv (the null distribution) and with `baseline`
    baselines.csv and learned.json (whether the map has more than features without learning), with
    `wells` tiers.csv (recall by pairs of wells on other plates, for example). Prints recall.csv,
    precision.csv, tiers.csv and baselines.csv.

    Parameters
    ----------
    map_path
        An .h5ad file written by `map`, or any other AnnData file with one row per gene.
    results
        Folder to write.
    overwrite
        Replace `results` if it was made with other settings.

    Raises ValueError if the map, a baseline, the wells or the annotations cannot be used, or if a
    tier leaves no pair.
    """
    folder = Path(results)
    # All checks come before the results folder is created, so invalid input leaves no files.
    inputs = _read_inputs(Path(map_path), settings)
    if inputs.unknown:
        _report_unknown(inputs.unknown, len(inputs.profiles.names))
    # Profiles of wells are not read for results that are there already.
    is_new = overwrite or not folder.exists()
    tiers = _read_tiers(inputs.wells, inputs.pairs, settings) if inputs.wells and is_new else None
    origin = _origin(settings, inputs)
    with artefact_folder(folder, origin, overwrite, resume=False) as partial:
        if partial is not None:
            tables = _measure(inputs, tiers, settings)
            for name, table in tables.items():
                write_bytes(partial / name, table.write_csv().encode())
            if inputs.baselines:
                names = list(inputs.baselines)
                without = without_learning(kinds_of(names))
                learned = find_learned(tables["baselines.csv"], without)
                line = headline(learned, ["source"])
                write_learned(partial, learned, line, names, shuffled=settings.shuffle > 0)
    # Read back from disk, so that results of an earlier identical call print the same tables.
    print_table(folder)
    print_precision(folder)
    if inputs.wells is not None:
        print_tiers(folder)
    if inputs.baselines:
        print_learned(folder, read_baselines(folder))
    return Results(folder)


@dataclass(frozen=True)
class _Inputs:
    """What is read and checked before anything is written."""

    profiles: ConsensusProfiles
    annotations: list[Annotation]
    aliases: dict[str, str]
    pairs: dict[str, Int[np.ndarray, "pairs 2"]]
    names: list[str]
    """Names of the rows as they are on the map; `profiles` has those without aliases."""
    unknown: list[str]
    baselines: dict[str, ConsensusProfiles]
    wells: WellsOfMap | None


def _read_inputs(path: Path, settings: BenchmarkSettings) -> _Inputs:
    profiles, annotations = read_map(path), read_annotations(settings.annotations)
    say_dates(profiles.names, path)
    aliases = {} if settings.aliases is None else read_aliases(Path(settings.aliases))
    check_map(profiles, path, settings.percentiles)
    wells = None
    if settings.wells is not None:
        # Before aliases are replaced, because the wells have the names of the map as it is.
        wells = read_wells_of_map(settings.wells, path, profiles.names, settings.tiers)
    names = profiles.names
    # Aliases may occur on the maps and in the annotations, so all are translated.
    profiles = replace(profiles, names=resolve_names(profiles.names, aliases))
    annotations = [rename_genes(annotation, aliases) for annotation in annotations]
    pairs = find_pairs(annotations, profiles.names, settings.annotations)
    baselines = {
        name: read_baseline(name, baseline, profiles.names, path, aliases)
        for name, baseline in name_baselines(settings.baseline).items()
    }
    report_assumed_kinds(kinds_of(baselines))
    unknown = unknown_genes(annotations, profiles.names)
    return _Inputs(profiles, annotations, aliases, pairs, names, unknown, baselines, wells)


def _read_tiers(
    wells: WellsOfMap, pairs: dict[str, Int[np.ndarray, "pairs 2"]], settings: BenchmarkSettings
) -> MeanCosines:
    """Return the mean cosines of genes in each tier; raises ValueError if wells have none."""
    counted = wells.count(settings.tiers, settings.percentiles)
    check_tiers(counted, pairs, settings.percentiles)
    return wells.read(counted)


def _measure(
    inputs: _Inputs, tiers: MeanCosines | None, settings: BenchmarkSettings
) -> dict[str, pl.DataFrame]:
    """Return the tables by file name."""
    percentiles, pairs = settings.percentiles, inputs.pairs
    profiles = replace(inputs.profiles, names=inputs.names)
    tables = measure(profiles, pairs, percentiles, settings, inputs.baselines)
    if ks := usable_neighbors(settings.neighbors, len(profiles.names)):
        unit = unit_rows(profiles.features)
        tables[PRECISION_FILE] = measure_precision(unit, pairs, ks, settings)
    tables["unknown_genes.csv"] = pl.DataFrame({"gene": inputs.unknown}, {"gene": pl.String})
    if tiers is not None:
        tables["tiers.csv"] = measure_tiers(tiers, pairs, percentiles, settings)
    return tables


def _report_unknown(unknown: list[str], count: int) -> None:
    info(
        f"{len(unknown)} of {count} names of the map are in no annotation, like "
        f"{', '.join(unknown[:3])}: unknown_genes.csv lists them, and aliases can rename them"
    )


def _origin(settings: BenchmarkSettings, inputs: _Inputs) -> Origin:
    """Return the origin of the results, in which files are identified by content, not by path."""
    of_files = {"annotations": hash_annotations(inputs.annotations)}
    plain = {
        name: value
        for name, value in settings_dict(settings).items()
        if name not in ("annotations", "aliases", "baseline", "wells", "tiers")
    }
    # Recorded only if given, so that results from before these settings keep their identity.
    if settings.neighbors == BenchmarkSettings.neighbors:
        del plain["neighbors"]
    if inputs.aliases:
        of_files["aliases"] = hash_json(inputs.aliases)
    for name, profiles in inputs.baselines.items():
        of_files[f"baseline {name}"] = profiles.identity
    if inputs.wells is not None:
        of_files["wells"] = inputs.wells.files.identity
        plain["tiers"] = list(settings.tiers)
    return Origin(KIND, plain, {"map": inputs.profiles.identity, **of_files})


def check_map(profiles: ConsensusProfiles, path: Path, percentiles: list[Percentiles]) -> None:
    """Raise ValueError if a row of the map has no cosine, or a tail has less than one pair."""
    require_directions(profiles, path)
    check_count(len(profiles.names), path, percentiles)


def check_count(count: int, where: Path | str, percentiles: list[Percentiles]) -> None:
    """Raise ValueError if a tail of the pairs of `count` genes has less than one pair.

    `where` says in the error message which genes these are: the path of a map, for example.
    """
    pairs = count * (count - 1) // 2
    if (share := empty_tail(pairs, percentiles)) is not None:
        raise ValueError(
            f"{where} has {count_of(count, 'gene')}, too few: {100 * share:.3g} % of all "
            f"pairs ({pairs}) is less than one pair; use more genes"
        )


def find_pairs(
    annotations: Sequence[Annotation], names: list[str], path: PathLike
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
