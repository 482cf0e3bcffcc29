"""Recall of a map beside that of its baselines, with paired differences, and what was learned.

All maps share the known pairs and the bootstrap resamples, so that the effect of a gene that is
easy for all of them cancels in a difference.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Bool, Float64

from phenomae.evaluation.annotations import ALL_SOURCES
from phenomae.evaluation.recall.bootstrap import interval
from phenomae.evaluation.recall.cosines import Pairs
from phenomae.evaluation.recall.one_pass import find_in_tails
from phenomae.evaluation.recall.recall import Percentiles
from phenomae.maps.read import ConsensusProfiles
from phenomae.maps.unit_vectors import unit_rows

THESE = "these features"
"""Name of the features, or of the map, that baselines are compared with."""
SHUFFLED = "shuffled"
BASELINES: dict[str, pl.DataType] = {
    "source": pl.String(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "map": pl.String(),
    "recall": pl.Float64(),
    "ci_low": pl.Float64(),
    "ci_high": pl.Float64(),
    "difference": pl.Float64(),
    "difference_ci_low": pl.Float64(),
    "difference_ci_high": pl.Float64(),
}


def pool_pairs(pairs: Mapping[str, Pairs]) -> dict[str, Pairs]:
    """Return the pairs of each source and, of several sources, those of `ALL_SOURCES`."""
    if len(pairs) < 2:
        return dict(pairs)
    return {**pairs, ALL_SOURCES: np.unique(np.concatenate(list(pairs.values())), axis=0)}


def find_of_baselines(
    baselines: Mapping[str, ConsensusProfiles], percentiles: list[Percentiles], known: Pairs
) -> dict[str, Bool[np.ndarray, "pairs t"]]:
    """Return which known pairs are in the tails of each baseline."""
    return {
        name: find_in_tails(unit_rows(profiles.features), percentiles, known).found
        for name, profiles in baselines.items()
    }


def baseline_table(
    source: str,
    percentiles: list[Percentiles],
    found: Mapping[str, Bool[np.ndarray, "pairs t"]],
    resampled: Float64[np.ndarray, "resamples columns"],
    null: Float64[np.ndarray, "shuffles t"] | None,
) -> pl.DataFrame:
    """Return the rows of baselines.csv for one source: this map, its baselines, shuffled names.

    `found` has the known pairs in the tails of this map, named `THESE` and first, and of its
    baselines; `resampled` has the recalls of their columns, in that order. A difference is the
    recall of this map minus that of the row.
    """
    rows = []
    of_maps = np.split(resampled, len(found), axis=1)
    for which, shares in enumerate(percentiles):
        own, own_drawn = found[THESE][:, which].mean(), of_maps[0][:, which]
        for (name, marks), drawn in zip(found.items(), of_maps, strict=True):
            recall = marks[:, which].mean()
            row = (source, *shares, name, recall, *interval(drawn[:, which]))
            paired = (own - recall, *interval(own_drawn - drawn[:, which]))
            rows.append((*row, *(paired if name != THESE else (None,) * 3)))
        if null is not None:
            # The mean over permutations is one number, so that only this map's recall varies.
            mean = null[:, which].mean()
            row = (source, *shares, SHUFFLED, mean, *interval(null[:, which]))
            rows.append((*row, own - mean, *interval(own_drawn - mean)))
    return pl.DataFrame(rows, BASELINES, orient="row").with_columns(
        pl.col(pl.Float64).fill_nan(None)
    )


def find_learned(
    table: pl.DataFrame,
    without_learning: Iterable[str],
    keys: Sequence[str] = ("source", "low", "high"),
    columns: tuple[str, str] = ("map", "recall"),
) -> list[dict[str, Any]]:
    """Return, for each source and percentile pair of baselines.csv, what was learned.

    Each has source, low, high, `best` (the best of the baselines `without_learning`), `difference`
    with its CI, `learned` (whether the CI is above 0) and the `line` that says so. Other tables
    have other `keys`, and other `columns` for the name and the score of a row.
    """
    name, score = columns
    learned = []
    for key, rows in split_by(table, keys):
        others = rows.filter(pl.col(name).is_in(list(without_learning)))
        if others.is_empty():
            continue
        # The first of equally good ones.
        best = others.row(int(others[score].arg_max() or 0), named=True)
        numbers = [best[f"difference{end}"] for end in ("", "_ci_low", "_ci_high")]
        learned.append({**key, **describe_difference(best[name], numbers)})
    return learned


def split_by(
    table: pl.DataFrame, keys: Sequence[str]
) -> Iterator[tuple[dict[str, Any], pl.DataFrame]]:
    """Yield the rows with the same `keys`, and these keys; without keys, the whole table."""
    if not keys:
        yield {}, table
        return
    for key, rows in table.group_by(keys, maintain_order=True):
        yield dict(zip(keys, key, strict=True)), rows


def describe_difference(best: str, numbers: Sequence[float | None]) -> dict[str, Any]:
    """Return what a difference and the ends of its CI say of learning beyond the baseline `best`.

    The keys are `best`, `difference`, `ci_low`, `ci_high`, `learned` (whether the CI is above 0)
    and `line`.
    """
    is_learned = numbers[1] is not None and numbers[1] > 0
    return {
        "best": best,
        **dict(zip(("difference", "ci_low", "ci_high"), numbers, strict=True)),
        "learned": is_learned,
        "line": _line(best, numbers, is_learned),
    }


def _line(best: str, numbers: Sequence[float | None], is_learned: bool) -> str:
    if any(number is None for number in numbers):
        return f"nothing was learned beyond {best}: the difference has no interval"
    # More digits where two would show a small difference, or the end of its interval, as 0.
    shown = numbers[:2] if is_learned else numbers[:1]
    digits = 2 if all(abs(number or 0) >= 0.005 for number in shown) else 4
    difference, low, high = (_short(number or 0, digits) for number in numbers)
    sign = "" if difference.startswith("-") else "+"
    words = f"{sign}{difference} ({low} to {high})"
    if is_learned:
        return f"learned: {words} over the best feature without learning ({best})"
    return f"nothing was learned beyond {best}: {words}"


def _short(number: float, digits: int) -> str:
    """Return a number without the zero in front of its point: .07, -.02."""
    text = f"{number:.{digits}f}"
    # "-0.00" is a negative number that is shown as 0.
    return re.sub(r"^(-?)0\.", r"\1.", text if float(text) else text.removeprefix("-"))
