"""The results of a study: tables, fit and figure, from its runs and maps."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from cyclopts import Parameter
from jaxtyping import Bool

from phenomae import checks
from phenomae.artefacts import artefact_folder
from phenomae.evaluation.annotations import hash_annotations, read_annotations
from phenomae.evaluation.benchmark import check_map, find_pairs
from phenomae.evaluation.recall.bootstrap import interval
from phenomae.evaluation.recall.compare_maps import measure_map, share_genes
from phenomae.evaluation.recall.cosines import Pairs
from phenomae.evaluation.settings import RecallTails
from phenomae.maps.read import ConsensusProfiles, read_map
from phenomae.reporting.evidence.training_flops import Compute, read_compute
from phenomae.reporting.figures.scaling import draw_scaling
from phenomae.reporting.figures.style import house_style, save
from phenomae.signatures import Origin, read_verified, settings_dict
from phenomae.studies.scaling import Recalls, fit_groups, measure_recalls
from phenomae.studies.steps import StudyFolder
from phenomae.studies.study_file import Screen, StudyFile
from phenomae.whole_files import write_bytes

KIND = "study"
_ALL = "all"


@Parameter(name="*")
@dataclass(frozen=True)
class StudySettings(RecallTails):
    """How recall is measured and fitted."""

    resamples: int = 1000
    """Bootstrap resamples of screens and genes, the same for all networks."""
    seed: int = 0
    """Seed of the bootstrap; the study file has the one of the trainings."""
    dry_run: bool = False
    """Check the study file, write the recipes, and print the commands without running any."""

    def __post_init__(self) -> None:
        RecallTails.__post_init__(self)
        checks.whole_numbers(self)
        checks.at_least("resamples", self.resamples, 1)
        checks.at_least("seed", self.seed, 0)


def require_same_study(plan: StudyFile, folder: StudyFolder, settings: StudySettings) -> None:
    """Raise ValueError if the results are of other networks, screens or settings."""
    found = read_verified(folder.results, KIND)
    names = set(_map_sources(plan).values())
    its = {key for key in found["sources"] if key.startswith("map ")}
    if found["settings"] != _recorded(plan, settings) or its != names:
        raise ValueError(
            f"{folder.results} has other networks, screens or settings: overwrite to replace it"
        )


def write_results(
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
    with artefact_folder(folder.results, origin, overwrite, resume=False) as partial:
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
        sources[f"annotations of {screen.name}"] = hash_annotations(annotations)
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
