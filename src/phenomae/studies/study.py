"""The command `study`: trains networks of several sizes, and fits recall over training FLOPs."""

import shlex
import tempfile
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import tomli_w
from cyclopts import Parameter
from cyclopts.exceptions import CycloptsError
from jaxtyping import Bool

from phenomae import checks, cli, command_parser
from phenomae.artefacts import (
    Origin,
    artefact_folder,
    hash_json,
    is_begun,
    read_signature,
    settings_dict,
    write_bytes,
)
from phenomae.evaluation.annotations import read_annotations
from phenomae.evaluation.benchmark import check_map, find_pairs
from phenomae.evaluation.recall.bootstrap import interval
from phenomae.evaluation.recall.compare_maps import measure_map, share_genes
from phenomae.evaluation.recall.cosines import Pairs
from phenomae.evaluation.recall.recall import Percentiles
from phenomae.evaluation.settings import check_shares
from phenomae.explore.evidence.training_flops import Compute, read_compute
from phenomae.explore.figures.scaling import draw_scaling
from phenomae.explore.figures.style import house_style, save
from phenomae.maps.read import ConsensusProfiles, read_map
from phenomae.outputs import TablesOutput
from phenomae.paths import PathLike
from phenomae.print_table import read_written, show
from phenomae.progress import info, is_quiet
from phenomae.runs import Stopped
from phenomae.store.read import open_store
from phenomae.studies.scaling import Recalls, fit_groups, measure_recalls
from phenomae.studies.steps import StudyFolder, Words, list_recipes, list_steps, write_recipes
from phenomae.studies.study_file import Screen, StudyFile, read_study

KIND = "study"
_ALL = "all"


class Study(TablesOutput):
    """The folder of results that `study` wrote: CSV tables and a figure."""


@Parameter(name="*")
@dataclass(frozen=True)
class StudySettings:
    """How recall is measured and fitted."""

    low: float = 0.05
    """A known pair is recalled if its cosine is within this lowest fraction of the cosines of all
    pairs."""
    high: float = 0.95
    """A known pair is also recalled if its cosine is above this fraction of the cosines of all
    pairs."""
    resamples: int = 1000
    """Bootstrap resamples of screens and genes, the same for all networks."""
    seed: int = 0
    """Seed of the bootstrap; the study file has the one of the trainings."""
    dry_run: bool = False
    """Check the study file, write the recipes, and print the commands without running any."""

    def __post_init__(self) -> None:
        checks.at_least("resamples", self.resamples, 1)
        checks.at_least("seed", self.seed, 0)
        check_shares(self.low, self.high)

    @property
    def percentiles(self) -> Percentiles:
        """The percentile pair (low, high)."""
        return self.low, self.high


def study(
    study_file: PathLike,
    out: PathLike,
    /,
    *,
    settings: StudySettings = StudySettings(),
    overwrite: bool = False,
) -> Study | None:
    """Train networks of several sizes, and fit recall over training FLOPs.

    Runs one command after another: simulate and ingest for simulated screens, pretrain for each
    number of steps of each network, and embed, correct and map for each training and for each
    network at random. A finished step is not repeated, so a stopped study goes on where it was.
    OUT/results then has networks.csv (FLOPs and recall of each training beside the same network at
    random), recall.csv (on each screen), fit.csv (rank correlation of recall with FLOPs and recall
    per decade of FLOPs, with 95 % intervals of screens and genes) and figures/scaling.svg.

    Parameters
    ----------
    study_file
        TOML file with the screens and the networks (docs/explore.md).
    out
        Folder of the study.
    overwrite
        Replace OUT/results if it was made from other networks, screens or settings. Networks,
        embeddings and maps of other settings are never replaced.

    Raises ValueError if the study file cannot be used, if OUT has a network or a screen of the same
    name that was made with other settings, or if a step fails.
    """
    plan, folder = read_study(Path(study_file)), StudyFolder(Path(out))
    if folder.path.exists() and not folder.path.is_dir():
        raise ValueError(f"{folder.path} is a file: name a folder for the study")
    steps, recipes = list_steps(plan, folder), list_recipes(plan, folder)
    _check_settings(plan)
    _check_screens(plan)
    _check_made(recipes, plan, folder)
    if folder.results.exists() and not overwrite:
        _require_same_study(plan, folder, settings)
    write_recipes(recipes)
    if settings.dry_run:
        print("\n".join(f"phenomae {shlex.join(step)}" for step in steps))
        return None
    _run_steps(steps)
    _write_results(plan, folder, settings, overwrite)
    networks = read_written(folder.results / "networks.csv")
    show(networks.drop("ci_low", "ci_high"))
    if (folder.results / "fit.csv").exists():
        print()
        show(read_written(folder.results / "fit.csv").drop("intercept"))
    info(f"the figure is {folder.results / 'figures' / 'scaling.svg'}")
    return Study(folder.results)


def _check_settings(plan: StudyFile) -> None:
    """Raise ValueError for a setting that a later step would refuse, before hours of training."""
    with tempfile.TemporaryDirectory() as temporary:
        # Files of their own, so that OUT has no recipe that cannot be used.
        folder = StudyFolder(Path(temporary))
        write_recipes(list_recipes(plan, folder))
        for step in list_steps(plan, folder):
            tokens, recipe = cli.split_common_flags([*step, *_quiet()])
            try:
                command_parser.parse(tokens, recipe)
            except CycloptsError as error:
                sentence, _ = command_parser.explain_usage(error)
                raise ValueError(sentence.replace(f"{temporary}/", "")) from None
            except ValueError as error:
                raise ValueError(f"{folder.owner_of(recipe)}: {error}") from None


def _check_screens(plan: StudyFile) -> None:
    """Raise ValueError unless the stores and annotations of screens can be opened."""
    for screen in plan.screens:
        if screen.store is not None and screen.annotations is not None:
            open_store(screen.store)
            read_annotations(screen.annotations)


def _check_made(recipes: dict[Path, dict[str, Any]], plan: StudyFile, folder: StudyFolder) -> None:
    """Raise ValueError if something in the folder was made from another recipe."""
    made_of = {
        folder.recipe(training): [
            folder.run(training),
            *(folder.wells(screen, training) for screen in plan.screens),
        ]
        for network in plan.networks
        for training in network.trainings
    }
    for path, recipe in recipes.items():
        made = made_of.get(path, [path.with_name("raw")])
        if not path.exists() or not any(is_begun(output) for output in made):
            continue
        before = tomllib.loads(path.read_text())
        if difference := _find_difference(before, recipe):
            raise ValueError(
                f"{made[0]} was made from another study file ({difference}): give it another name, "
                "or choose another folder for the study"
            )


def _find_difference(before: dict[str, Any], now: dict[str, Any]) -> str | None:
    """Return the first setting of two recipes that differs, in words."""
    # Written and read, as the earlier recipe was: tuples become lists.
    old, new = (_flatten(tables) for tables in (before, tomllib.loads(tomli_w.dumps(now))))
    for key in sorted({*old, *new}):
        if old.get(key) != new.get(key):
            was, its = (tables.get(key, "not given") for tables in (old, new))
            return f"{key} was {was}, now {its}"
    return None


def _flatten(tables: dict[str, Any], above: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tables.items():
        name = f"{above}{key}"
        flat |= _flatten(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return flat


def _require_same_study(plan: StudyFile, folder: StudyFolder, settings: StudySettings) -> None:
    """Raise ValueError if the results are of other networks, screens or settings."""
    found = read_signature(folder.results, KIND)
    names = set(_map_sources(plan).values())
    its = {key for key in found["sources"] if key.startswith("map ")}
    if found["settings"] != _recorded(plan, settings) or its != names:
        raise ValueError(
            f"{folder.results} has other networks, screens or settings: overwrite to replace it"
        )


def _quiet() -> list[str]:
    return ["--quiet"] if is_quiet() else []


def _run_steps(steps: list[Words]) -> None:
    for number, step in enumerate(steps, start=1):
        command = f"phenomae {shlex.join(step)}"
        info(f"\n[{number}/{len(steps)}] {command}")
        begun = time.monotonic()
        code = cli.run([*step, *_quiet()])
        if code == cli.TRY_AGAIN:
            raise Stopped(f"the study stopped in step {number} of {len(steps)}")
        if code == cli.INTERRUPTED:
            raise KeyboardInterrupt
        if code:
            raise ValueError(
                f"step {number} of {len(steps)} failed ({command}): run the same study again to go "
                "on from there"
            )
        info(f"[{number}/{len(steps)}] took {time.monotonic() - begun:.1f} s")


def _write_results(
    plan: StudyFile, folder: StudyFolder, settings: StudySettings, overwrite: bool
) -> None:
    trainings = [name for network in plan.networks for name in network.trainings]
    at_random = [network.name for network in plan.networks]
    computes = {name: read_compute(folder.run(name)) for name in trainings}
    maps = {
        screen.name: _read_maps(folder, screen, trainings + at_random, settings)
        for screen in plan.screens
    }
    origin = _origin(plan, folder, settings, computes, maps)
    with artefact_folder(folder.results, origin, overwrite) as partial:
        if partial is None:
            return
        recalls, chance = _measure(plan, folder, maps, settings)
        groups = {_ALL: trainings}
        for network in plan.networks:
            groups.setdefault(network.family, []).extend(network.trainings)
        flops = {name: compute.flops for name, compute in computes.items()}
        networks = _tabulate_networks(plan, flops, recalls)
        fit = fit_groups(groups if len(groups) > 2 else {_ALL: trainings}, flops, recalls)
        tables = {"networks": networks, "recall": _tabulate_screens(plan, recalls), "fit": fit}
        for name, table in tables.items():
            if len(table):
                write_bytes(partial / f"{name}.csv", table.write_csv().encode())
        with house_style():
            save(draw_scaling(networks, fit, chance), partial / "figures", "scaling")


def _read_maps(
    folder: StudyFolder, screen: Screen, names: list[str], settings: StudySettings
) -> dict[str, ConsensusProfiles]:
    paths = {name: folder.map(screen, name) for name in names}
    maps = {name: read_map(path) for name, path in paths.items()}
    for name, profiles in maps.items():
        check_map(profiles, paths[name], [settings.percentiles])
    return share_genes(maps)


def _measure(
    plan: StudyFile,
    folder: StudyFolder,
    maps: dict[str, dict[str, ConsensusProfiles]],
    settings: StudySettings,
) -> tuple[Recalls, float]:
    """Return the recall of every map on every screen, and what is expected by chance."""
    found: list[Bool[np.ndarray, "pairs maps"]] = []
    known: list[Pairs] = []
    for screen in plan.screens:
        its, annotations = maps[screen.name], folder.annotations(screen)
        names = next(iter(its.values())).names
        of_sources = find_pairs(read_annotations(annotations), names, annotations)
        # Each pair once, whatever number of sources know it.
        pairs = {_ALL: np.unique(np.concatenate(list(of_sources.values())), axis=0)}
        marks = [
            measure_map(profiles, pairs, settings.percentiles)[_ALL].found
            for profiles in its.values()
        ]
        found.append(np.column_stack(marks))
        known.append(pairs[_ALL])
    names = list(maps[plan.screens[0].name])
    recalls = measure_recalls(names, found, known, settings.resamples, settings.seed)
    return recalls, settings.low + 1 - settings.high


def _tabulate_networks(plan: StudyFile, flops: dict[str, float], recalls: Recalls) -> pl.DataFrame:
    """Return the rows of networks.csv: each training beside its network at random."""
    mean, limits = dict(zip(recalls.names, recalls.mean, strict=True)), recalls.intervals()
    interval_of = dict(zip(recalls.names, limits, strict=True))
    rows = []
    for network in plan.networks:
        for name, steps in network.trainings.items():
            pair = recalls.of([name, network.name]).drawn
            low, high = interval(pair[:, 0] - pair[:, 1])
            rows.append(
                {
                    "training": name,
                    "family": network.family,
                    "steps": steps,
                    "flops": flops[name],
                    "recall": mean[name],
                    "ci_low": interval_of[name][0],
                    "ci_high": interval_of[name][1],
                    "at_random": mean[network.name],
                    "difference": mean[name] - mean[network.name],
                    "difference_ci_low": low,
                    "difference_ci_high": high,
                }
            )
    return pl.DataFrame(rows, nan_to_null=True)


def _tabulate_screens(plan: StudyFile, recalls: Recalls) -> pl.DataFrame:
    """Return the rows of recall.csv: the recall of each map on each screen."""
    screens = [screen.name for screen in plan.screens]
    return pl.concat(
        pl.DataFrame({"screen": screen, "network": recalls.names, "recall": row})
        for screen, row in zip(screens, recalls.by_screen, strict=True)
    )


def _origin(
    plan: StudyFile,
    folder: StudyFolder,
    settings: StudySettings,
    computes: dict[str, Compute],
    maps: dict[str, dict[str, ConsensusProfiles]],
) -> Origin:
    sources = {f"run {name}": compute.identity for name, compute in computes.items()}
    for (screen, network), source in _map_sources(plan).items():
        sources[source] = maps[screen][network].identity
    for screen in plan.screens:
        annotations = read_annotations(folder.annotations(screen))
        checksums = {annotation.name: annotation.checksum for annotation in annotations}
        sources[f"annotations of {screen.name}"] = hash_json(checksums)
    return Origin(KIND, _recorded(plan, settings), sources)


def _recorded(plan: StudyFile, settings: StudySettings) -> dict[str, Any]:
    """Return the settings of the results; the order of screens matters to the bootstrap."""
    recorded = {key: value for key, value in settings_dict(settings).items() if key != "dry_run"}
    return {**recorded, "screens": [screen.name for screen in plan.screens]}


def _map_sources(plan: StudyFile) -> dict[tuple[str, str], str]:
    """Return the name, as a source of the results, of the map of each screen and network."""
    names = [name for network in plan.networks for name in (network.name, *network.trainings)]
    return {
        (screen.name, name): f"map {name} of {screen.name}"
        for screen in plan.screens
        for name in names
    }
