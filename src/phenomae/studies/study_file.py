"""Reads study files: TOML with the screens and the networks of a scaling study."""

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from phenomae.commands import GROUPS
from phenomae.recipe import read_recipe
from phenomae.shipped_recipes import recipe_names

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
RESERVED = ("recipes", "results", "runs")
"""Folders of a study, which no screen can be called."""
_PATHS = ("init", "sample_by")  # settings of pretrain that are paths


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
    seed: int
    """Seed of its trainings, and of the network at random."""
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


def read_study(path: Path) -> StudyFile:
    """Read a study file; relative paths in it start at its folder.

    Raises ValueError if it cannot be read, lacks a screen or a network, repeats a name, or has a
    key that is not known.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such study file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not TOML: {error}") from None
    _check_keys(path, "a study file", tables, {"seed", "screen", "network", "correct", "map"})
    for kind in ("screen", "network"):
        found = tables.get(kind)
        is_list = isinstance(found, list) and all(isinstance(table, dict) for table in found)
        if not found or not is_list:
            raise ValueError(f"{path} has no {kind}: add a table [[{kind}]]")
    for kind in ("correct", "map"):
        its = tables.get(kind, {})
        _require(path, kind, isinstance(its, dict), f"a table, like [{kind}]", its)
        _refuse_overwrite(path, kind, its)
    seed = _read_seed(path, "seed", tables.get("seed", 0))
    screens = tuple(_read_screen(path, table) for table in tables["screen"])
    networks = tuple(_read_network(path, table, seed) for table in tables["network"])
    _check_names(path, [*RESERVED, *(screen.name for screen in screens)])
    # Also of the networks at random, which have the name of the network alone.
    _check_names(path, [name for its in networks for name in (its.name, *its.trainings)])
    return StudyFile(screens, networks, tables.get("correct", {}), tables.get("map", {}))


def _read_screen(path: Path, table: dict[str, Any]) -> Screen:
    name = _read_name(path, "screen", table)
    rest = {key: value for key, value in table.items() if key != "name"}
    _refuse_overwrite(path, f"screen {name}", rest)
    if "store" not in rest:
        return Screen(name, simulate=rest)
    _check_keys(path, f"screen {name}", rest, {"store", "annotations"})
    if "annotations" not in rest:
        raise ValueError(f"{path}: screen {name} has a store but no annotations: add the file")
    store, annotations = (_read_path(path, key, rest[key]) for key in ("store", "annotations"))
    return Screen(name, store, annotations)


def _read_network(path: Path, table: dict[str, Any], seed: int) -> Network:
    name = _read_name(path, "network", table)
    families = list(GROUPS["pretrain"].table)
    family, steps = table.get("family"), table.get("steps")
    _require(path, f"family of network {name}", family in families, _any_of(families), family)
    lengths: list[Any] = steps if isinstance(steps, list) else [steps]
    whole = all(type(length) is int and length > 0 for length in lengths)
    rule = "a list of different whole numbers above 0"
    distinct = len(set(map(str, lengths))) == len(lengths) > 0
    _require(path, f"steps of network {name}", whole and distinct, rule, steps)
    settings, embed = {}, {}
    if "recipe" in table:
        recipe = _find_recipe(path, table["recipe"])
        settings = read_recipe(recipe, ("pretrain", str(family)))
        embed = read_recipe(recipe, ("embed",))
    own = ("name", "family", "steps", "recipe", "embed", "seed")
    changed = {
        key: str(_read_path(path, key, value)) if key in _PATHS else value
        for key, value in table.items()
        if key not in own
    }
    its = table.get("embed", {})
    _require(
        path, f"embed of network {name}", isinstance(its, dict), "a table, like { turns = 8 }", its
    )
    for key, settings_of in (("embed", its), ("pretrain", changed)):
        _refuse_overwrite(path, f"{key} of network {name}", settings_of)
    merged, embed = {**settings, **changed}, {**embed, **its}
    seed = _read_seed(path, f"seed of network {name}", table.get("seed", merged.get("seed", seed)))
    # They are given for each training, and with the network at random.
    for key in ("steps", "seed"):
        merged.pop(key, None)
        embed.pop(key, None)
    return Network(name, str(family), tuple(lengths), seed, merged, embed)


def _read_path(path: Path, key: str, value: Any) -> Path:
    """Return a path of a study file, relative to the folder of the file."""
    _require(path, key, isinstance(value, str) and value != "", "a path", value)
    return path.parent / Path(value).expanduser()


def _find_recipe(path: Path, value: Any) -> Path:
    """Return the recipe of a network: a path, or the name of a recipe that comes with phenomae."""
    beside = _read_path(path, "recipe", value)
    return Path(value) if value in recipe_names() and not beside.is_file() else beside


def _read_seed(path: Path, name: str, value: Any) -> int:
    _require(path, name, type(value) is int and value >= 0, "a whole number of at least 0", value)
    return value


def _refuse_overwrite(path: Path, where: str, table: dict[str, Any]) -> None:
    """Raise ValueError for a key that would replace what a study has made, again and again."""
    if "overwrite" in table:
        raise ValueError(f"{path}: {where} has 'overwrite', which a study does not take: remove it")


def _read_name(path: Path, kind: str, table: dict[str, Any]) -> str:
    name = table.get("name")
    fits = isinstance(name, str) and _NAME.fullmatch(name) is not None
    _require(path, f"name of a {kind}", fits, "letters, digits, dots and dashes", name)
    return str(name)


def _check_names(path: Path, names: list[str]) -> None:
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        if repeated[0] in RESERVED:
            raise ValueError(f"{path}: {repeated[0]} is a folder of the study: use another name")
        raise ValueError(f"{path} has the name {repeated[0]} twice: give each its own")


def _check_keys(path: Path, where: str, table: dict[str, Any], known: set[str]) -> None:
    if unknown := sorted(set(table) - known):
        raise ValueError(f"{path}: {where} has no {unknown[0]}: it has {_any_of(sorted(known))}")


def _any_of(names: list[str]) -> str:
    return ", ".join(names)


def _require(path: Path, name: str, holds: bool, rule: str, value: Any) -> None:
    if not holds:
        raise ValueError(f"{path}: {name} must be {rule}, not {value}")
