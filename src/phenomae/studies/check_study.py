"""Checks of a study before its first step: an error must not come after hours of training."""

import tempfile
import tomllib
from pathlib import Path
from typing import Any

import tomli_w
from cyclopts.exceptions import CycloptsError

from phenomae import cli, command_parser
from phenomae.artefacts import is_begun
from phenomae.evaluation.annotations import read_annotations
from phenomae.progress import is_quiet
from phenomae.store.read import open_store
from phenomae.studies.steps import StudyFolder, list_recipes, list_steps, write_recipes
from phenomae.studies.study_file import StudyFile


def quiet_flag() -> list[str]:
    """Return the flag that silences a step if this process is silenced."""
    return ["--quiet"] if is_quiet() else []


def check_settings(plan: StudyFile) -> None:
    """Raise ValueError for a setting that a later step would refuse, before hours of training."""
    with tempfile.TemporaryDirectory() as temporary:
        # Files of their own, so that OUT has no recipe that cannot be used.
        folder = StudyFolder(Path(temporary))
        write_recipes(list_recipes(plan, folder))
        for step in list_steps(plan, folder):
            tokens, recipe, _ = cli.split_common_flags([*step, *quiet_flag()])
            try:
                command_parser.parse(tokens, recipe)
            except CycloptsError as error:
                sentence, _ = command_parser.explain_usage(error)
                raise ValueError(sentence.replace(f"{temporary}/", "")) from None
            except ValueError as error:
                raise ValueError(f"{folder.owner_of(recipe)}: {error}") from None


def check_screens(plan: StudyFile) -> None:
    """Raise ValueError unless the stores and annotations of screens can be opened."""
    for screen in plan.screens:
        if screen.store is not None and screen.annotations is not None:
            open_store(screen.store)
            read_annotations(screen.annotations)


def check_made(recipes: dict[Path, dict[str, Any]], plan: StudyFile, folder: StudyFolder) -> None:
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
        before = tomllib.loads(path.read_text(encoding="utf-8"))
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
