"""learned.json of `benchmark`: whether a map has more than features without learning have."""

import json
from pathlib import Path

import polars as pl

from phenomae.artefacts import write_json
from phenomae.evaluation.baseline_maps import TRAINED, kind_of, missing_kinds
from phenomae.evaluation.recall.baselines import BASELINES, find_learned
from phenomae.evaluation.recall.tables import read_results_table
from phenomae.print_table import show

_FILE = "learned.json"


def write_learned(folder: Path, table: pl.DataFrame, names: list[str], shuffled: bool) -> None:
    """Write learned.json: what was learned, by source and percentiles, and missing baselines.

    `table` is baselines.csv, `names` are the baselines that were given.
    """
    without_learning = [name for name in names if kind_of(name) != TRAINED]
    learned = find_learned(table, without_learning)
    missing = missing_kinds(names, shuffled)
    kinds = {name: kind_of(name) for name in names}
    write_json(folder / _FILE, {"learned": learned, "missing": missing, "kinds": kinds})


def print_baselines(folder: Path) -> None:
    """Print baselines.csv, the baselines that are missing, and one line on what was learned.

    The line is of all sources together, at the first percentile pair. Raises ValueError if a file
    is missing or damaged.
    """
    table = read_results_table(folder / "baselines.csv", BASELINES)
    try:
        found = json.loads((folder / _FILE).read_text())
        missing, learned = found["missing"], found["learned"]
        last = [one for one in learned if one["source"] == table["source"][-1]]
        lines = [one["line"] for one in last[:1]]
        words = [f"{kind} ({' or '.join(names)})" for kind, names in missing.items()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(
            f"{folder / _FILE} is missing or damaged: make the results again with benchmark "
            "--overwrite"
        ) from None
    print()
    show(table)
    if words:
        print(f"missing baselines: {', '.join(words)}")
    print(*(lines or ["what was learned is unknown: no baseline without learning was given"]))
