"""The command `compare`: maps side by side, or runs, in tables and figures."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import polars as pl
from cyclopts import Parameter

from phenomae.artefacts import Origin, artefact_folder, hash_json, settings_dict, write_bytes
from phenomae.evaluation.annotations import read_sources
from phenomae.evaluation.benchmark import check_count, check_map, find_pairs
from phenomae.evaluation.recall.compare_maps import ask, set_side_by_side, share_genes
from phenomae.evaluation.recall.recall import Percentiles
from phenomae.evaluation.settings import Several, check_seed, check_shares
from phenomae.explore.evidence.training_flops import Compute, read_compute, tabulate
from phenomae.explore.figures.flops_curves import draw_recall_over_flops, draw_runs
from phenomae.explore.figures.side_by_side import draw_curves, draw_recalls
from phenomae.explore.figures.style import Drawing, house_style, save
from phenomae.maps.read import ConsensusProfiles, read_map
from phenomae.print_table import read_written, show
from phenomae.progress import info

KIND = "comparison"


@Parameter(name="*")
@dataclass(frozen=True)
class CompareSettings:
    """What maps are asked; runs are not asked anything."""

    annotations: Path | None = None
    """File or folder of known pairs, as for `benchmark`; needed for maps."""
    low: float = 0.05
    """A pair is found where its cosine is among this share of the lowest."""
    high: float = 0.95
    """... or above this share of all pairs' cosines."""
    resamples: int = 1000
    """Draw genes with replacement so often, the same for all maps, for intervals and p-values."""
    seed: int = 0
    """Of the resamples."""
    run: Annotated[tuple[str, ...], Several] = ()
    """NAME=RUN, the run behind the map of that name: draws recall over the FLOPs of training."""


def compare(
    first: str,
    second: str,
    /,
    *more: str,
    settings: CompareSettings = CompareSettings(),
    overwrite: bool = False,
) -> None:
    """Set two or more maps, or runs, side by side: compare A.h5ad B.h5ad OUT.

    The last word is the folder to write; before it stand maps (.h5ad) or run folders, each PATH or
    NAME=PATH. Maps are asked for the genes that all of them have: recall.csv and curve.csv a map,
    differences.csv with paired intervals and p-values. Of runs, runs.csv has losses and recalls
    over the FLOPs of training, as they were logged. Figures lie in the folder figures.

    Parameters
    ----------
    first
        A map or a run, PATH or NAME=PATH.
    second
        Another, of the same kind.
    more
        Others; the last word is the folder to write.
    overwrite
        Replace the folder where it was made with other settings.

    Raises ValueError where names repeat, maps and runs are mixed or cannot be used, or the maps
    have too few genes in common; the sentence says which.
    """
    *given, last = (first, second, *more)
    if len(given) < 2:
        raise ValueError(
            f"there is nothing to set {first} beside: compare A B OUT takes two maps or runs, or "
            "more, and then the folder to write"
        )
    paths, out = name_paths(given), Path(last)
    if out.suffix == ".h5ad":
        raise ValueError(
            f"{out} is named as a map, but the last word must be the folder to write: add one"
        )
    are_maps = {path.suffix == ".h5ad" for path in paths.values()}
    if len(are_maps) > 1:
        raise ValueError("maps (.h5ad) and runs cannot be compared with each other: give one kind")
    if are_maps == {True}:
        _compare_maps(paths, out, settings, overwrite)
    else:
        if settings != CompareSettings():
            raise ValueError(
                "runs are shown as they were logged, and asked nothing: leave out --annotations, "
                "--run and the other settings, which are for maps"
            )
        _compare_runs(paths, out, overwrite)


def name_paths(words: list[str]) -> dict[str, Path]:
    """Return the paths of PATH or NAME=PATH by their names, which are their stems if not given.

    Raises ValueError where two have one name.
    """
    paths: dict[str, Path] = {}
    for word in words:
        name, equals, path = (part.strip() for part in word.partition("="))
        if not equals:
            path, name = word, Path(word).stem
        if not (name and path):
            raise ValueError(f"{word!r} is no map or run: expected PATH or NAME=PATH")
        if name in paths:
            raise ValueError(
                f"two of the compared are called {name}: give them names, like "
                f"one={paths[name]} other={path}"
            )
        paths[name] = Path(path)
    return paths


def _compare_maps(
    paths: dict[str, Path], out: Path, settings: CompareSettings, overwrite: bool
) -> None:
    if settings.annotations is None:
        raise ValueError("maps are compared by the known pairs they find: give --annotations")
    percentiles = _check(settings)
    maps = {name: read_map(path) for name, path in paths.items()}
    for name, genes in maps.items():
        check_map(genes, paths[name], [percentiles])
    computes = {name: read_compute(path) for name, path in name_runs(settings.run, maps).items()}
    maps, sources = _share(maps, paths, percentiles), read_sources(settings.annotations)
    pairs = find_pairs(sources, next(iter(maps.values())).names, settings.annotations)
    checksums = hash_json({source.name: source.checksum for source in sources})
    identities = {f"map {name}": genes.identity for name, genes in maps.items()}
    identities |= {f"run {name}": compute.identity for name, compute in computes.items()}
    plain = {
        key: value
        for key, value in settings_dict(settings).items()
        if key not in ("annotations", "run")
    }
    origin = Origin(KIND, plain, {**identities, "annotations": checksums})

    def make(folder: Path) -> None:
        answers = {name: ask(genes, pairs, percentiles) for name, genes in maps.items()}
        tables = set_side_by_side(answers, pairs, percentiles, settings.resamples, settings.seed)
        _write(folder, tables)
        drawings = {
            "recall": draw_recalls(tables["recall.csv"], percentiles),
            "curve": draw_curves(tables["curve.csv"]),
        }
        if computes:
            drawings["flops"] = draw_recall_over_flops(tables["recall.csv"], computes)
        _draw(folder, drawings)

    _make(out, origin, overwrite, make)
    show(read_written(out / "recall.csv"))
    print()
    show(read_written(out / "differences.csv"))


def _check(settings: CompareSettings) -> Percentiles:
    if settings.resamples < 1:
        raise ValueError(f"--resamples {settings.resamples}: give a number above 0")
    check_seed(settings.seed)
    return check_shares(settings.low, settings.high)


def _share(
    maps: dict[str, ConsensusProfiles], paths: dict[str, Path], percentiles: Percentiles
) -> dict[str, ConsensusProfiles]:
    """Return the maps with the names all have; says how many that are.

    Raises ValueError where these are so few that a tail of their pairs holds none.
    """
    shared = share_genes(maps)
    common = len(next(iter(shared.values())).names)
    counts = {name: len(genes.names) for name, genes in maps.items()}
    if common < max(counts.values()):
        told = ", ".join(f"{name} has {count}" for name, count in counts.items())
        info(f"{common} names are on all maps, and only these are asked ({told})")
    named = " and ".join(map(str, paths.values()))
    if common < 3:
        raise ValueError(
            f"{named} have {common} names in common: nothing can be compared; were they made by "
            "the same column (map --by)?"
        )
    check_count(common, f"what {named} have in common", [percentiles])
    return shared


def name_runs(words: tuple[str, ...], maps: dict[str, ConsensusProfiles]) -> dict[str, Path]:
    """Return the runs of NAME=RUN; raises ValueError where NAME is none of the maps."""
    runs: dict[str, Path] = {}
    for word in words:
        name, equals, path = (part.strip() for part in word.partition("="))
        if not equals or name not in maps:
            raise ValueError(f"--run {word}: expected NAME=RUN, and NAME one of {', '.join(maps)}")
        runs[name] = Path(path)
    return runs


def _compare_runs(paths: dict[str, Path], out: Path, overwrite: bool) -> None:
    runs: dict[str, Compute] = {name: read_compute(path) for name, path in paths.items()}
    origin = Origin(KIND, {}, {f"run {name}": run.identity for name, run in runs.items()})

    def make(folder: Path) -> None:
        _write(folder, {"runs.csv": tabulate(runs)})
        _draw(folder, {"runs": draw_runs(runs)})

    _make(out, origin, overwrite, make)
    table = read_written(out / "runs.csv")
    show(table.group_by("run", maintain_order=True).agg(pl.all().drop_nulls().last()))


def _make(out: Path, origin: Origin, overwrite: bool, make: Callable[[Path], None]) -> None:
    with artefact_folder(out, origin, overwrite) as folder:
        if folder is not None:
            with house_style():
                make(folder)
    info(f"figures are in {out / 'figures'}")


def _write(folder: Path, tables: dict[str, pl.DataFrame]) -> None:
    for name, table in tables.items():
        write_bytes(folder / name, table.write_csv().encode())


def _draw(folder: Path, drawings: dict[str, Drawing]) -> None:
    for name, drawing in drawings.items():
        save(drawing, folder / "figures", name)
