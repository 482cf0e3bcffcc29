"""The command `benchmark`: a map and known pairs in, how many of them it finds out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import polars as pl
from cyclopts import Parameter
from jaxtyping import Int

from phenomae.artefacts import Origin, artefact_folder, hash_json, settings_dict, write_bytes
from phenomae.benchmark.annotations import Source, pairs_on_map, read_sources
from phenomae.benchmark.cosines import pair_cosines, unit_rows
from phenomae.benchmark.recall import Percentiles, find_tails, shuffled_recalls
from phenomae.benchmark.tables import print_table, recall_table, shuffled_table
from phenomae.maps.read import Map, read_map
from phenomae.progress import say

KIND = "results"
CURVE: list[Percentiles] = [(step / 100, (100 - step) / 100) for step in range(1, 51)]
Several = Parameter(consume_multiple=True, negative=())


@Parameter(name="*")
@dataclass(frozen=True)
class BenchmarkSettings:
    """What the map is asked."""

    annotations: Path
    """A file of known pairs with the columns entity1,entity2, or a folder of such .txt and .csv
    files; each is a source, named by its stem."""
    low: Annotated[tuple[float, ...], Several] = (0.05,)
    """A pair is found where its cosine is among this share of the lowest; several may be given."""
    high: Annotated[tuple[float, ...], Several] = (0.95,)
    """... or above this share of all pairs' cosines; as many as --low, first with first."""
    shuffle: int = 0
    """Repeat with shuffled names so often, and give mean and spread of the recall."""
    seed: int = 0
    """Of the shuffles."""


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
    percentiles = _check_percentiles(settings)
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


def measure(
    genes: Map,
    pairs: dict[str, Int[np.ndarray, "pairs 2"]],
    percentiles: list[Percentiles],
    settings: BenchmarkSettings,
) -> dict[str, pl.DataFrame]:
    """Return the tables of the results by the names of their files."""
    unit = unit_rows(genes.features)
    every = percentiles + CURVE
    tails = find_tails(unit, every)
    tables: dict[str, list[pl.DataFrame]] = {"recall.csv": [], "curve.csv": [], "shuffled.csv": []}
    for source, known in pairs.items():
        recalls = tails.recall(pair_cosines(unit, known))
        table = recall_table(source, every, recalls, known)
        tables["recall.csv"].append(table[: len(percentiles)])
        tables["curve.csv"].append(table[len(percentiles) :])
        if settings.shuffle:
            shuffled = shuffled_recalls(unit, known, tails, settings.shuffle, settings.seed)
            table = shuffled_table(source, percentiles, shuffled[:, : len(percentiles)])
            tables["shuffled.csv"].append(table)
    return {name: pl.concat(parts) for name, parts in tables.items() if parts}


def _check_percentiles(settings: BenchmarkSettings) -> list[Percentiles]:
    if settings.shuffle < 0:
        raise ValueError(f"--shuffle {settings.shuffle}: give 0 or a number of shuffles")
    if len(settings.low) != len(settings.high) or not settings.low:
        raise ValueError(
            f"--low {settings.low} and --high {settings.high} must be of the same number: "
            "the first low goes with the first high"
        )
    percentiles = list(zip(settings.low, settings.high, strict=True))
    for low, high in percentiles:
        if not 0 <= low <= high <= 1:
            raise ValueError(
                f"--low {low} --high {high} are no shares of all pairs: expected "
                "0 <= low <= high <= 1, like 0.05 and 0.95"
            )
    return percentiles


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
