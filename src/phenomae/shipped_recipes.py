"""The recipes that come with phenomae: TOML files in the package, each used by its name.

`--config demo-vit-mae` works wherever phenomae is installed. The first lines of a recipe say what
it costs, and `phenomae recipes` lists them.
"""

import difflib
import json as json_format
import math
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path

RECIPES = Path(__file__).parent / "recipes"
"""The folder of the recipes in the package."""

_HEAD = re.compile(r"# (command|hardware|hours|score|source): (\S.*)")


@dataclass(frozen=True)
class ShippedRecipe:
    """What the first lines of a recipe say."""

    name: str
    command: str
    """The command that the recipe is for."""
    hardware: str
    """What the command ran on."""
    hours: str
    """How long it ran."""
    score: str
    """What was reached."""
    source: str
    """Whether a paper published the settings, or we measured the rest."""


def recipe_names() -> list[str]:
    """Return the names of the recipes that come with phenomae."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def find_recipe(recipe: str | os.PathLike[str]) -> Path:
    """Return the file of a recipe, given as a path or as the name of one of phenomae's recipes.

    A file of that name comes first. Raises ValueError if there is neither.
    """
    path = Path(recipe)
    if path.is_file() or len(path.parts) > 1 or path.suffix:
        return path
    names = recipe_names()
    if str(path) in names:
        return RECIPES / f"{path}.toml"
    raise ValueError(
        f"there is neither a file nor a recipe of phenomae called {str(path)!r}{suggest(path)}"
    )


def suggest(path: Path) -> str:
    """Return the end of a message about a missing file: the recipes with names like it."""
    close = difflib.get_close_matches(path.stem, recipe_names(), n=3)
    if not close:
        return "; phenomae recipes lists those that come with phenomae"
    return f": did you mean {' or '.join(close)}, of the recipes that come with phenomae?"


def list_recipes(name: str | None = None, *, json: bool = False) -> list[ShippedRecipe]:
    """List the recipes that come with phenomae, and what they cost, the quickest first.

    Parameters
    ----------
    name
        Print the file of this recipe instead, to edit a copy of it:
        phenomae recipes demo-vit-mae > mine.toml.
    json
        Print one JSON object per recipe instead.

    Returns the printed recipes. Raises ValueError if there is no recipe of that name.
    """
    if name is not None and name not in recipe_names():
        raise ValueError(f"phenomae has no recipe called {name!r}{suggest(Path(name))}")
    if name is None:
        recipes = sorted(map(_read_head, recipe_names()), key=_hours)
    else:
        recipes = [_read_head(name)]
    for recipe in recipes:
        if json:
            print(json_format.dumps(asdict(recipe)))
        elif name is not None:
            print((RECIPES / f"{name}.toml").read_text(encoding="utf-8"), end="")
        else:
            print(_describe(recipe))
    return recipes


def _read_head(name: str) -> ShippedRecipe:
    lines = (RECIPES / f"{name}.toml").read_text(encoding="utf-8").splitlines()
    found = [match for line in lines if (match := _HEAD.match(line))]
    return ShippedRecipe(name, **{match[1]: match[2] for match in found})


def _hours(recipe: ShippedRecipe) -> float:
    """Return the first number of hours that a recipe names; infinite if it is not known."""
    found = re.search(r"[\d,]*\.?\d+", recipe.hours)
    return float(found[0].replace(",", "")) if found else math.inf


def _describe(recipe: ShippedRecipe) -> str:
    """Return the lines of one recipe; what is not known is left out."""
    shown = {key: value for key, value in asdict(recipe).items() if value != "not known"}
    del shown["name"]
    return "\n".join([recipe.name, *(f"    {key:8}  {value}" for key, value in shown.items())])
