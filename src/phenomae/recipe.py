"""Reads recipes: TOML files with the settings of one command or of a whole pipeline."""

import os
import tomllib
from pathlib import Path
from typing import Any

from phenomae.commands import COMMANDS, GROUPS, is_command
from phenomae.shipped_recipes import find_recipe, suggest


def read_recipe(path: str | os.PathLike[str], command: tuple[str, ...]) -> dict[str, Any]:
    """Return the settings that a recipe holds for a command.

    Parameters
    ----------
    path
        TOML file, or the name of a recipe that comes with phenomae (`demo-vit-mae`). It may hold a
        whole pipeline, one table per command (`[pretrain.vit-mae]`), or the settings of a single
        command without a table.
    command
        The words of the command: `("pretrain", "vit-mae")`.

    Raises ValueError if the file cannot be read, or has a table that is not a command.
    """
    path = find_recipe(path)
    recipe = parse_recipe(path)
    _require_commands(path, recipe)
    section: Any = recipe
    for word in command:
        section = section.get(word, {})
        if not isinstance(section, dict):
            raise ValueError(f"{path}: {word} must be a table, like [{'.'.join(command)}]")
    loose = {key: value for key, value in recipe.items() if not isinstance(value, dict)}
    found, requested = _commands_of(recipe), " ".join(command)
    # Without this, a recipe for another command would be accepted and have no effect.
    if found and not loose and requested not in found and is_command(command):
        raise ValueError(
            f"{path} has no settings for {requested}: it is a recipe for {', '.join(found)}"
        )
    return {**loose, **section}


def parse_recipe(path: Path) -> dict[str, Any]:
    """Return the tables of a recipe file; raises ValueError if it cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such recipe file{suggest(path)}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not TOML: {error}") from None


def _require_commands(path: Path, recipe: dict[str, Any]) -> None:
    """Raise ValueError unless every table of a recipe belongs to a command."""
    known = [*COMMANDS, *GROUPS]
    for key, value in recipe.items():
        if isinstance(value, dict) and key not in known:
            raise ValueError(f"{path}: [{key}] is not a command; commands are {', '.join(known)}")
        if not isinstance(value, dict) and key in known:
            raise ValueError(f"{path}: {key} must be a table, like [{key}]")
        if key in GROUPS and (unknown := set(value) - set(GROUPS[key].table)):
            raise ValueError(
                f"{path}: [{key}.{min(unknown)}] is not a command; commands of {key} are "
                f"{', '.join(GROUPS[key].table)}"
            )


def _commands_of(recipe: dict[str, Any]) -> list[str]:
    """Return the commands that a recipe has tables for."""
    found: list[str] = []
    for key, table in recipe.items():
        if key in GROUPS:
            found += [f"{key} {word}" for word in table]
        elif isinstance(table, dict):
            found.append(key)
    return found
