"""Features that are missing (NaN, empty or infinite) in some wells: found, refused or left out.

CellProfiler has them wherever a ratio or a correlation is undefined, mostly in a few features.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int

from phenomae.progress import count_of, info
from phenomae.records import feature_names

MAX_MISSING = 0.05
"""Largest share of wells in which a feature may be missing, the cutoff of `drop_na_columns` in
cytominer and pycytominer."""
_SHOWN = 5


@dataclass(frozen=True)
class Complete:
    """Which features and wells are kept, such that no feature of a well is missing."""

    features: list[str]
    wells: Bool[np.ndarray, " n"]
    left_out: dict[str, int]
    """Number of wells in which each feature that is left out is missing."""


def find_non_finite(features: Float[np.ndarray, "n d"]) -> Bool[np.ndarray, " n"]:
    """Return which wells have a feature that is NaN or infinite."""
    return np.asarray(~np.isfinite(features).all(axis=1))


def count_non_finite(features: Float[np.ndarray, "n d"]) -> Int[np.ndarray, " d"]:
    """Return the number of wells in which each feature is NaN or infinite."""
    finite = np.isfinite(features)
    # Mostly all are finite, and the test of it takes a tenth of the time of the sum.
    if finite.all():
        return np.zeros(features.shape[1], dtype=np.int64)
    return np.asarray((~finite).sum(axis=0))


def refuse_non_finite(
    wells: pl.DataFrame,
    counts: Int[np.ndarray, " d"],
    path: Path,
    names: Sequence[str] | None = None,
) -> None:
    """Raise ValueError if `wells` is not empty, naming up to five of them and five features.

    `wells` are those with a feature that is NaN or infinite, and `counts` the number of such wells
    of each feature. Features without `names` are called by their number.
    """
    rows = wells.select("plate", "well").rows()
    if not rows:
        return
    names = names or feature_names(len(counts))
    found = {names[index]: int(counts[index]) for index in np.flatnonzero(counts).tolist()}
    raise ValueError(
        f"{path} has features that are NaN, empty or infinite: wells "
        f"{_first([f'{plate} {well}' for plate, well in rows])}, features {_list(found)}; leave "
        "these wells out, or write the table again with write_wells, which leaves out features "
        "that are missing in many wells"
    )


def choose_complete(
    table: pl.DataFrame, finite: Bool[np.ndarray, "n d"], names: Sequence[str], max_missing: float
) -> Complete:
    """Choose wells and features so that nothing is missing; what is left out is printed.

    Wells without any feature are left out first, as by `drop_na_rows` of cytominer. Then a feature
    is left out if it is missing in more than `max_missing` of the other wells, and then each well
    in which one of the other features is missing. `table` has the columns plate and well, and
    `finite` is false where a feature is missing.

    Raises ValueError if no feature or no well is left.
    """
    wells = np.asarray(finite.any(axis=1))
    _report_wells(table, ~wells, "in which every feature is missing")
    counts = np.asarray(wells.sum() - finite.sum(axis=0))  # the other wells have no feature
    kept = counts / max(1, wells.sum()) <= max_missing
    left_out = {names[index]: int(counts[index]) for index in np.flatnonzero(~kept).tolist()}
    if left_out:
        info(
            f"the table of wells: {len(left_out)} of {count_of(len(names), 'feature')} are left "
            f"out, missing (NaN, empty or infinite) in more than {100 * max_missing:g} % of "
            f"{count_of(int(wells.sum()), 'well')} (max_missing): {_list(left_out)}"
        )
    incomplete = np.flatnonzero(kept & (counts > 0))
    lacking = {names[index]: int(counts[index]) for index in incomplete.tolist()}
    lack_some = wells & ~finite[:, incomplete].all(axis=1)
    _report_wells(table, lack_some, f"which lack a feature that others have: {_list(lacking)}")
    wells = wells & ~lack_some
    if not kept.any() or not wells.any():
        what = "every well" if kept.any() else "every feature"
        raise ValueError(
            f"the table of wells: {what} would be left out, because of missing features"
            + (f": {_list(left_out | lacking)}" if left_out or lacking else "")
        )
    return Complete([name for name, keep in zip(names, kept, strict=True) if keep], wells, left_out)


def _report_wells(table: pl.DataFrame, gone: Bool[np.ndarray, " n"], why: str) -> None:
    rows = table.filter(gone).select("plate", "well").rows()
    if rows:
        info(
            f"the table of wells: {len(rows)} of {count_of(len(table), 'well')} are left out, "
            f"{why}; wells {_first([f'{plate} {well}' for plate, well in rows])}"
        )


def _list(counts: dict[str, int]) -> str:
    """Return features with their numbers of wells, the most first."""
    by_count = sorted(counts, key=lambda name: (-counts[name], name))
    return _first([f"{name} ({count_of(counts[name], 'well')})" for name in by_count])


def _first(items: Sequence[str]) -> str:
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return ", ".join(items[:_SHOWN]) + more
