"""The command `study`: trains networks of several sizes, and fits recall over training FLOPs."""

import shlex
import time
from pathlib import Path

from phenomae import cli
from phenomae.outputs import TablesOutput
from phenomae.paths import PathLike
from phenomae.print_table import read_written, show
from phenomae.progress import info
from phenomae.runs import Stopped
from phenomae.studies.check_study import check_made, check_screens, check_settings, quiet_flag
from phenomae.studies.results import StudySettings, require_same_study, write_results
from phenomae.studies.steps import StudyFolder, Words, list_recipes, list_steps, write_recipes
from phenomae.studies.study_file import read_study


class Study(TablesOutput):
    """The folder of results that `study` wrote: CSV tables and a figure."""


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
        TOML file with the screens and the networks (docs/report.md).
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
    check_settings(plan)
    check_screens(plan)
    check_made(recipes, plan, folder)
    if folder.results.exists() and not overwrite:
        require_same_study(plan, folder, settings)
    write_recipes(recipes)
    if settings.dry_run:
        print("\n".join(f"phenomae {shlex.join(step)}" for step in steps))
        return None
    _run_steps(steps)
    write_results(plan, folder, settings, overwrite)
    networks = read_written(folder.results / "networks.csv")
    show(networks.drop("ci_low", "ci_high"))
    if (folder.results / "fit.csv").exists():
        print()
        show(read_written(folder.results / "fit.csv").drop("intercept"))
    info(f"the figure is {folder.results / 'figures' / 'scaling.svg'}")
    return Study(folder.results)


def _run_steps(steps: list[Words]) -> None:
    for number, step in enumerate(steps, start=1):
        command = f"phenomae {shlex.join(step)}"
        info(f"\n[{number}/{len(steps)}] {command}")
        begun = time.monotonic()
        code = cli.run([*step, *quiet_flag()])
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
