"""The command `compare`: compares several maps, or several training runs, in tables and figures.

Maps are compared on the same genes, known pairs and bootstrap resamples, so that the confidence
intervals of recall differences are paired.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import polars as pl
from cyclopts import Parameter

from phenomae import checks
from phenomae.artefacts import artefact_folder
from phenomae.evaluation.annotations import hash_annotations, read_annotations
from phenomae.evaluation.baseline_maps import TRAINED, kinds_side_by_side, report_assumed_kinds
from phenomae.evaluation.benchmark import check_count, check_map, find_pairs
from phenomae.evaluation.learned import headline, print_learned, write_learned
from phenomae.evaluation.recall.compare_maps import (
    LEARNED,
    compare_recalls,
    find_learned_of_maps,
    measure_map,
    share_genes,
)
from phenomae.evaluation.recall.recall import Percentiles
from phenomae.evaluation.recall.tables import read_results_table
from phenomae.evaluation.settings import RecallTails, Several
from phenomae.maps.read import ConsensusProfiles, read_map
from phenomae.outputs import TablesOutput
from phenomae.paths import PathLike
from phenomae.print_table import read_written, show
from phenomae.progress import info
from phenomae.reporting.evidence.training_flops import Compute, read_compute, tabulate
from phenomae.reporting.figures.flops_curves import draw_recall_over_flops, draw_runs
from phenomae.reporting.figures.side_by_side import draw_curves, draw_recalls
from phenomae.reporting.figures.style import Drawing, house_style, save
from phenomae.signatures import Origin, settings_dict
from phenomae.whole_files import write_bytes

KIND = "comparison"
_NOT_NAMED = "what was learned is unknown: name the map of a trained network trained=MAP"
Maps = dict[str, ConsensusProfiles]


class Comparison(TablesOutput):
    """The folder that `compare` wrote: CSV tables and figures."""


@Parameter(name="*")
@dataclass(frozen=True)
class CompareSettings(RecallTails):
    """How maps are compared; these settings do not apply to runs."""

    annotations: PathLike | None = None
    """File or folder of known pairs, as for `benchmark`. Required for maps."""
    resamples: int = 1000
    """Bootstrap resamples of the genes, the same for all maps, for confidence intervals and
    p-values."""
    seed: int = 0
    """Seed of the bootstrap."""
    run: Annotated[tuple[str, ...], Several] = ()
    """NAME=RUN: the run whose network made the map NAME. Adds a figure of recall over training
    FLOPs. Several may be given."""

    def __post_init__(self) -> None:
        RecallTails.__post_init__(self)
        checks.whole_numbers(self)
        checks.at_least("resamples", self.resamples, 1)
        checks.at_least("seed", self.seed, 0)


def compare(
    first: PathLike,
    second: PathLike,
    /,
    *more: PathLike,
    settings: CompareSettings = CompareSettings(),
    overwrite: bool = False,
) -> Comparison:
    """Compare two or more maps, or training runs: compare A.h5ad B.h5ad OUT.

    The last argument is the folder to write. Maps are compared on the genes that all of them have:
    recall.csv and curve.csv per map, differences.csv with paired CI and p-values, and learned.csv
    with differences from the best features without learning, if some map has their name (spectra,
    random-network, count, position and others). For runs,
    runs.csv has the logged losses and recalls over training FLOPs. The folder figures has figures.
    Raises ValueError if a name is repeated, maps and runs are mixed, an input cannot be used, or
    the maps have too few genes in common.

    Parameters
    ----------
    first
        A map (.h5ad) or a run folder, as PATH or NAME=PATH.
    second
        Another map or run folder.
    more
        More maps or run folders, then the folder to write.
    overwrite
        Replace the folder if it was made with other settings.
    """
    *given, last = [os.fspath(word) for word in (first, second, *more)]
    if len(given) < 2:
        raise ValueError(
            f"there is nothing to compare {first} with: compare A B OUT takes two or more maps or "
            "runs, and then the folder to write"
        )
    paths, out = name_paths(given), Path(last)
    if out.suffix == ".h5ad":
        raise ValueError(
            f"{out} has the name of a map, but the last argument is the folder to write: add it"
        )
    if _are_maps(paths):
        _compare_maps(paths, out, settings, overwrite)
    else:
        if settings != CompareSettings():
            raise ValueError(
                "annotations, low, high, resamples, seed and run are for maps: leave them out, "
                "because runs are shown as they were logged"
            )
        _compare_runs(paths, out, overwrite)
    return Comparison(out)


def _are_maps(paths: dict[str, Path]) -> bool:
    """Return whether the inputs are maps, not runs; raises ValueError if they are mixed."""
    # Maps are files with this suffix, runs are folders.
    kinds = {path.suffix == ".h5ad" for path in paths.values()}
    if len(kinds) > 1:
        raise ValueError("maps (.h5ad) and runs cannot be compared with each other: give one kind")
    return kinds.pop()


def name_paths(words: list[str]) -> dict[str, Path]:
    """Return the paths by name; the name of an input without NAME= is the stem of its path.

    Raises ValueError if a name is repeated.
    """
    paths: dict[str, Path] = {}
    for word in words:
        name, equals, path = (part.strip() for part in word.partition("="))
        if not equals:
            path, name = word, Path(word).stem
        if not (name and path):
            raise ValueError(f"{word!r} is not a map or a run: expected PATH or NAME=PATH")
        if name in paths:
            raise ValueError(
                f"two inputs are called {name}: name them, like one={paths[name]} other={path}"
            )
        paths[name] = Path(path)
    return paths


def _compare_maps(
    paths: dict[str, Path], out: Path, settings: CompareSettings, overwrite: bool
) -> None:
    if settings.annotations is None:
        raise ValueError("maps are compared by the recall of known pairs: give annotations")
    known, percentiles = Path(settings.annotations), settings.percentiles
    maps = {name: read_map(path) for name, path in paths.items()}
    for name, profiles in maps.items():
        check_map(profiles, paths[name], [percentiles])
    # Read before the folder is created, so that a run without FLOPs leaves no files.
    computes = {name: read_compute(path) for name, path in name_runs(settings.run, maps).items()}
    maps, annotations = _share(maps, paths, percentiles), read_annotations(known)
    pairs = find_pairs(annotations, next(iter(maps.values())).names, known)
    origin = _origin(settings, maps, computes, hash_annotations(annotations))
    kinds = kinds_side_by_side(list(maps))
    report_assumed_kinds(kinds)

    def make(folder: Path) -> None:
        measured = {
            name: measure_map(profiles, pairs, percentiles) for name, profiles in maps.items()
        }
        tables = compare_recalls(
            measured, pairs, percentiles, settings.resamples, settings.seed, kinds
        )
        _write(folder, tables)
        if "learned.csv" in tables:
            _write_learned(folder, tables["learned.csv"], kinds)
        drawings = {
            "recall": draw_recalls(tables["recall.csv"], percentiles),
            "curve": draw_curves(tables["curve.csv"]),
        }
        if computes:
            drawings["flops"] = draw_recall_over_flops(tables["recall.csv"], computes)
        _draw(folder, drawings)

    _make(out, origin, overwrite, make)
    # Read back from disk, so that an earlier identical comparison prints the same tables.
    show(read_written(out / "recall.csv"))
    print()
    show(read_written(out / "differences.csv"))
    if (out / "learned.csv").exists():
        print_learned(out, read_results_table(out / "learned.csv", LEARNED))


def _write_learned(folder: Path, table: pl.DataFrame, kinds: dict[str, str]) -> None:
    learned, trained = find_learned_of_maps(table), list(kinds.values()).count(TRAINED)
    line = None if trained > 1 else headline(learned, ["source"]) if trained else _NOT_NAMED
    # Names are not permuted here, as chance is known: no kind is missing for that.
    names = [name for name, kind in kinds.items() if kind]
    write_learned(folder, learned, line, names, shuffled=True)


def _origin(
    settings: CompareSettings, maps: Maps, computes: dict[str, Compute], checksums: str
) -> Origin:
    # The paths of inputs are not recorded; identities under their names are, so that moved inputs
    # give the same comparison.
    recorded = settings_dict(settings)
    plain = {key: value for key, value in recorded.items() if key not in ("annotations", "run")}
    identities = {f"map {name}": profiles.identity for name, profiles in maps.items()}
    identities |= {f"run {name}": compute.identity for name, compute in computes.items()}
    return Origin(KIND, plain, {**identities, "annotations": checksums})


def _share(maps: Maps, paths: dict[str, Path], percentiles: Percentiles) -> Maps:
    """Restrict the maps to the row names that they have in common, and log the number of these.

    Raises ValueError if they have fewer than three names, or so few that a tail has no pair.
    """
    shared = share_genes(maps)
    common = len(next(iter(shared.values())).names)
    counts = {name: len(profiles.names) for name, profiles in maps.items()}
    if common < max(counts.values()):
        listed = ", ".join(f"{name} has {count}" for name, count in counts.items())
        info(f"comparing the {common} names that all maps have ({listed})")
    named = " and ".join(map(str, paths.values()))
    # Checked before `check_count`, because so few common names mean maps by different columns,
    # for which the advice to use more genes would be wrong.
    if common < 3:
        raise ValueError(
            f"{named} have {common} names in common, but at least 3 are needed: make the maps with "
            "the same setting by of map"
        )
    check_count(common, f"what {named} have in common", [percentiles])
    return shared


def name_runs(words: tuple[str, ...], maps: Maps) -> dict[str, Path]:
    """Return the run folders of NAME=RUN by name; raises ValueError unless NAME is a map."""
    runs: dict[str, Path] = {}
    for word in words:
        name, equals, path = (part.strip() for part in word.partition("="))
        if not equals or name not in maps:
            raise ValueError(
                f"run must be NAME=RUN, with NAME one of {', '.join(maps)}, not {word}"
            )
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
    # Prints the last value of each measure; runs.csv has all logged steps.
    show(table.group_by("run", maintain_order=True).agg(pl.all().drop_nulls().last()))


def _make(out: Path, origin: Origin, overwrite: bool, make: Callable[[Path], None]) -> None:
    with artefact_folder(out, origin, overwrite, resume=False) as folder:
        if folder is not None:
            # The settings of matplotlib are global, so the style ends with this block.
            with house_style():
                make(folder)
    info(f"figures are in {out / 'figures'}")


def _write(folder: Path, tables: dict[str, pl.DataFrame]) -> None:
    for name, table in tables.items():
        write_bytes(folder / name, table.write_csv().encode())


def _draw(folder: Path, drawings: dict[str, Drawing]) -> None:
    for name, drawing in drawings.items():
        save(drawing, folder / "figures", name)
