"""Reads study files: TOML with the screens and the networks of a scaling study."""

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from phenomae.checks import at_least
from phenomae.commands import GROUPS
from phenomae.recipe import read_recipe

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_FIRST = {"screen": 1, "network": 1}


@dataclass(frozen=True)
class Screen:
    """A screen on which recall is measured: one that is simulated, or a store with known pairs."""

    name: str
    store: Path | None = None
    annotations: Path | None = None
    simulate: dict[str, Any] = field(default_factory=dict)
    """Settings of `simulate`, if there is no store."""


@dataclass(frozen=True)
class Network:
    """A network of one size, which is trained once for each number of steps."""

    name: str
    family: str
    steps: tuple[int, ...]
    settings: dict[str, Any]
    """Settings of `pretrain`: those of the recipe, with those of the study file in their place."""
    embed: dict[str, Any]
    """Settings of `embed` in the recipe."""

    @property
    def trainings(self) -> dict[str, int]:
        """The steps of each training by its name."""
        return {f"{self.name}-{steps}": steps for steps in self.steps}


@dataclass(frozen=True)
class StudyFile:
    """What a study file says. Networks are trained on the first screen."""

    screens: tuple[Screen, ...]
    networks: tuple[Network, ...]
    correct: dict[str, Any]
    """Settings of `correct`, the same for all maps."""
    map: dict[str, Any]
    """Settings of `map`, the same for all maps."""
    seed: int = 0
    """Seed of every training, and of the networks at random."""


def read_study(path: Path) -> StudyFile:
    """Read a study file; relative paths in it start at its folder.

    Raises ValueError if it cannot be read, lacks a screen or a network, repeats a name, or has a
    key that is not known.
    """
    try:
        tables = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such study file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not TOML: {error}") from None
    _check_keys(path, "a study file", tables, {"seed", "screen", "network", "correct", "map"})
    for kind in ("screen", "network"):
        found = tables.get(kind)
        if not found or not isinstance(found, list):
            raise ValueError(f"{path} has no {kind}: add a table [[{kind}]]")
    screens = tuple(_read_screen(path, table) for table in tables["screen"])
    networks = tuple(_read_network(path, table) for table in tables["network"])
    _check_names(path, [screen.name for screen in screens])
    # Also of the networks at random, which have the name of the network alone.
    _check_names(path, [name for its in networks for name in (its.name, *its.trainings)])
    seed = tables.get("seed", 0)
    _require(path, "seed", isinstance(seed, int), "a whole number", seed)
    at_least("seed", seed, 0)
    return StudyFile(screens, networks, tables.get("correct", {}), tables.get("map", {}), seed)


def _read_screen(path: Path, table: dict[str, Any]) -> Screen:
    name = _read_name(path, "screen", table)
    rest = {key: value for key, value in table.items() if key != "name"}
    if "store" not in rest:
        return Screen(name, simulate=rest)
    _check_keys(path, f"screen {name}", rest, {"store", "annotations"})
    if "annotations" not in rest:
        raise ValueError(f"{path}: screen {name} has a store but no annotations: add the file")
    return Screen(name, path.parent / rest["store"], path.parent / rest["annotations"])


def _read_network(path: Path, table: dict[str, Any]) -> Network:
    name = _read_name(path, "network", table)
    where = f"{path}: network {name}"
    families = list(GROUPS["pretrain"].table)
    family, steps = table.get("family"), table.get("steps")
    _require(path, f"family of network {name}", family in families, _any_of(families), family)
    lengths: list[Any] = steps if isinstance(steps, list) else [steps]
    whole = all(isinstance(length, int) and length > 0 for length in lengths)
    rule = "a list of different whole numbers above 0"
    distinct = len(set(map(str, lengths))) == len(lengths) > 0
    _require(path, f"steps of network {name}", whole and distinct, rule, steps)
    settings, embed = {}, {}
    if "recipe" in table:
        recipe = path.parent / table["recipe"]
        settings = read_recipe(recipe, ("pretrain", str(family)))
        embed = read_recipe(recipe, ("embed",))
    own = ("name", "family", "steps", "recipe", "embed")
    changed = {key: value for key, value in table.items() if key not in own}
    its = table.get("embed", {})
    if not isinstance(its, dict):
        raise ValueError(f"{where}: embed must be a table, like embed = {{ turns = 8 }}")
    merged = {**settings, **changed}
    merged.pop("steps", None)
    return Network(name, str(family), tuple(lengths), merged, {**embed, **its})


def _read_name(path: Path, kind: str, table: dict[str, Any]) -> str:
    name = table.get("name")
    fits = isinstance(name, str) and _NAME.fullmatch(name) is not None
    _require(path, f"name of a {kind}", fits, "letters, digits, dots and dashes", name)
    return str(name)


def _check_names(path: Path, names: list[str]) -> None:
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{path} has the name {repeated[0]} twice: give each its own")


def _check_keys(path: Path, where: str, table: dict[str, Any], known: set[str]) -> None:
    if unknown := sorted(set(table) - known):
        raise ValueError(f"{path}: {where} has no {unknown[0]}: it has {_any_of(sorted(known))}")


def _any_of(names: list[str]) -> str:
    return ", ".join(names)


def _require(path: Path, name: str, holds: bool, rule: str, value: Any) -> None:
    if not holds:
        raise ValueError(f"{path}: {name} must be {rule}, not {value}")
