"""Baselines: the recall of other maps, and of shuffled names, beside the map's own."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from phenomae.explore.evidence.results import Results, at

THIS_MAP = "this map"
SHUFFLED = "shuffled names"


@dataclass(frozen=True)
class Entry:
    """One map's recall of one source."""

    name: str
    recall: float
    sd: float | None
    """Spread over the shuffles; None for a map."""
    n_pairs: int
    chance: float
    ratio: float | None
    """Recall in units of this map's; None where that is 0."""


@dataclass(frozen=True)
class Comparison:
    """All maps that were asked one source, this map first."""

    source: str
    entries: list[Entry]


def parse_baselines(texts: tuple[str, ...]) -> dict[str, Path]:
    """Return the folders of NAME=RESULTS by their names.

    Raises ValueError where one has no name or no folder, or a name stands twice.
    """
    folders: dict[str, Path] = {}
    for text in texts:
        name, equals, folder = (part.strip() for part in text.partition("="))
        if not (name and equals and folder):
            raise ValueError(
                f"--baseline {text}: expected NAME=RESULTS, like intensity=results/intensity"
            )
        if name in folders:
            raise ValueError(f"--baseline {name} is given twice: every baseline needs its own name")
        if name in (THIS_MAP, SHUFFLED):
            raise ValueError(f"--baseline {name}: the table has a row of that name, take another")
        folders[name] = Path(folder)
    return folders


def compare(results: Results, baselines: dict[str, Results]) -> list[Comparison]:
    """Set the baselines beside the results, at their first percentile pair, one list a source.

    A baseline that was not asked a source is not among its entries. Raises ValueError where one has
    no recall of any source at this percentile pair.
    """
    others = {name: _rows(other, results, name) for name, other in baselines.items()}
    comparisons = []
    for own in results.main.iter_rows(named=True):
        source = own["source"]
        rows = {THIS_MAP: own, **{name: table.get(source) for name, table in others.items()}}
        entries = [
            Entry(
                name,
                row["recall"],
                None,
                row["n_pairs"],
                row["chance"],
                _ratio(row["recall"], own["recall"]),
            )
            for name, row in rows.items()
            if row is not None
        ]
        if own["mean"] is not None:
            ratio = _ratio(own["mean"], own["recall"])
            entries.append(
                Entry(SHUFFLED, own["mean"], own["sd"], own["n_pairs"], own["chance"], ratio)
            )
        comparisons.append(Comparison(source, entries))
    return comparisons


def _rows(other: Results, results: Results, name: str) -> dict[str, dict]:
    """Return a baseline's rows by source; its curve may know what recall.csv does not ask."""
    low, high = results.percentiles[0]
    columns = other.curve.columns
    both = at(pl.concat([other.recall.select(columns), other.curve]), (low, high))
    rows = {row["source"]: row for row in reversed(both.rows(named=True))}
    shared = set(rows) & set(results.main["source"])
    if not shared:
        raise ValueError(
            f"baseline {name} has no recall to set beside the results: benchmark it with the same "
            f"annotations and --low {low} --high {high}"
        )
    return rows


def _ratio(recall: float, own: float) -> float | None:
    return recall / own if own else None
