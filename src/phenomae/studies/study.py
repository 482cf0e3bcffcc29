"""The command `study`: trains networks of several sizes, and fits recall over training FLOPs."""

import shlex
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from cyclopts import Parameter
from cyclopts.exceptions import CycloptsError
from jaxtyping import Bool

from phenomae import checks, cli, command_parser
from phenomae.artefacts import Origin, artefact_folder, hash_json, settings_dict, write_bytes
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
from phenomae.studies.scaling import Recalls, fit_groups, measure_recalls
from phenomae.studies.steps import StudyFolder, Words, list_steps, write_recipes
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
    """Print the commands and run none."""

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
        Replace OUT/results if it was made with other settings. Networks, embeddings and maps of
        other settings are never replaced.

    Raises ValueError if the study file cannot be used or a step fails.
    """
    plan, folder = read_study(Path(study_file)), StudyFolder(Path(out))
    steps = list_steps(plan, folder)
    if settings.dry_run:
        print("\n".join(f"phenomae {shlex.join(step)}" for step in steps))
        return None
    if folder.path.exists() and not folder.path.is_dir():
        raise ValueError(f"{folder.path} is a file: name a folder for the study")
    write_recipes(plan, folder)
    _check_steps(steps)
    _run_steps(steps)
    _write_results(plan, folder, settings, overwrite)
    networks = read_written(folder.results / "networks.csv")
    show(networks.drop("ci_low", "ci_high"))
    if (folder.results / "fit.csv").exists():
        print()
        show(read_written(folder.results / "fit.csv").drop("intercept"))
    info(f"the figure is {folder.results / 'figures' / 'scaling.svg'}")
    return Study(folder.results)


def _check_steps(steps: list[Words]) -> None:
    """Raise ValueError for a setting that a later step would refuse, before hours of training."""
    for step in steps:
        tokens, recipe = cli.split_common_flags([*step, *(["--quiet"] if is_quiet() else [])])
        try:
            command_parser.parse(tokens, recipe)
        except CycloptsError as error:
            sentence, _ = command_parser.explain_usage(error)
            raise ValueError(sentence) from None


def _run_steps(steps: list[Words]) -> None:
    quiet = ["--quiet"] if is_quiet() else []
    for number, step in enumerate(steps, start=1):
        command = f"phenomae {shlex.join(step)}"
        info(f"\n[{number}/{len(steps)}] {command}")
        begun = time.monotonic()
        code = cli.run([*step, *quiet])
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
    recorded = {key: value for key, value in settings_dict(settings).items() if key != "dry_run"}
    sources = {f"run {name}": compute.identity for name, compute in computes.items()}
    for screen in plan.screens:
        sources |= {
            f"map {name} of {screen.name}": profiles.identity
            for name, profiles in maps[screen.name].items()
        }
        annotations = read_annotations(folder.annotations(screen))
        checksums = {annotation.name: annotation.checksum for annotation in annotations}
        sources[f"annotations of {screen.name}"] = hash_json(checksums)
    return Origin(KIND, recorded, sources)
