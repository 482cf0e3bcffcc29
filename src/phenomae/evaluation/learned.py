"""learned.json: whether features have more than features without learning have, in one line.

`benchmark`, `compare` and the questions of `ask` write it beside their tables; the report shows it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from phenomae.evaluation.baseline_maps import kinds_of, missing_kinds
from phenomae.evaluation.recall.baselines import BASELINES, THESE
from phenomae.evaluation.recall.tables import read_results_table
from phenomae.print_table import show
from phenomae.whole_files import write_json

LEARNED_FILE = "learned.json"
BASELINES_FILE = "baselines.csv"
_UNKNOWN = "what was learned is unknown: no baseline without learning was given"


@dataclass(frozen=True)
class Learned:
    """What learned.json says of all rows of a table together."""

    line: str | None
    """What was learned; None if there is not one network that it could be said of."""
    missing: str | None
    """The kinds of baselines that were not given and their names; None if no kind is missing."""


def headline(learned: Sequence[dict[str, Any]], keys: Sequence[str]) -> str:
    """Return the line of the first of `learned` that has the values of the last one in `keys`.

    For benchmark this is the line of all sources together, at the first percentile pair.
    """
    last = [one for one in learned if all(one[key] == learned[-1][key] for key in keys)]
    return last[0]["line"] if last else _UNKNOWN


def write_learned(
    folder: Path,
    learned: list[dict[str, Any]],
    line: str | None,
    names: Sequence[str],
    *,
    shuffled: bool,
) -> None:
    """Write learned.json: what was learned, by rows of a table, and missing baselines.

    `line` is what is said of all rows together, `names` are the baselines that were given.
    """
    found = {
        "line": line,
        "learned": learned,
        "missing": missing_kinds(names, shuffled),
        "kinds": kinds_of(names),
    }
    write_json(folder / LEARNED_FILE, found)


def read_learned(folder: Path) -> Learned:
    """Read learned.json; raises ValueError if it is missing, damaged or of an earlier version."""
    path = folder / LEARNED_FILE
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        line, kinds = found["line"], list_kinds(found["missing"])
        if not isinstance(line, str | None):
            raise ValueError
    except KeyError:
        raise ValueError(
            f"{path} was made by an earlier version of phenomae: make {folder} again with overwrite"
        ) from None
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        raise ValueError(
            f"{path} is missing or damaged: make {folder} again with overwrite"
        ) from None
    return Learned(line, f"missing baselines: {kinds}" if kinds else None)


def list_kinds(missing: dict[str, list[str]]) -> str:
    """Return kinds of baselines with their names in one line: `count (count), ...`."""
    return ", ".join(f"{kind} ({' or '.join(names)})" for kind, names in missing.items())


def print_learned(folder: Path, table: pl.DataFrame) -> None:
    """Print a table of baselines, the kinds that are missing, and the line on what was learned.

    Raises ValueError if learned.json is missing or damaged.
    """
    read = read_learned(folder)
    print()
    show(table)
    for line in (read.missing, read.line):
        if line is not None:
            print(line)


def read_baselines(folder: Path) -> pl.DataFrame:
    """Read baselines.csv of `benchmark`.

    Raises ValueError if it is missing, damaged or of an earlier version.
    """
    path = folder / BASELINES_FILE
    table = read_results_table(path, BASELINES)
    # Earlier versions had another name for the row of the map.
    if THESE not in table["map"]:
        raise ValueError(
            f"{path} has no row called {THESE}, so it was made by an earlier version of phenomae: "
            f"make {folder} again with overwrite"
        )
    return table
