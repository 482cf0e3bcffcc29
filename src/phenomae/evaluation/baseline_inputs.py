"""Baselines as inputs of `ask`: features of the same wells, or a map of the same genes.

A baseline is checked before anything is written, plate by plate, and read when its turn comes, so
that the features of one baseline at a time are in memory.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Int

from phenomae.evaluation.baseline_maps import read_baseline, rows_in_order
from phenomae.maps.read import ConsensusProfiles
from phenomae.missing_features import count_non_finite, find_non_finite, refuse_non_finite
from phenomae.wells import PlateFiles, Profiles, open_wells, read_wells

Codes = Int[np.ndarray, " n"]

Averaged = Callable[[pl.DataFrame], Iterable[Codes]]
"""Returns for a table of wells how a question averages them: codes that are the same for the wells
of a profile whose cosines it computes, and -1 for wells without one; several for several tiers."""


@dataclass(frozen=True)
class Baseline:
    """A baseline that was found to have the wells or genes of the input it is compared with."""

    path: Path
    identity: str
    read: Callable[[], Any]
    """Returns what the question takes, with wells or genes in the order of its first input."""
    check: Callable[[Averaged], None]
    """Raises ValueError if a feature is NaN or infinite, or a profile has no cosine."""


def open_baseline_wells(name: str, path: Path, table: pl.DataFrame, source: Path) -> Baseline:
    """Open features of the wells in `table`, which are those of `source`.

    Raises ValueError if `path` is no folder of wells, or has other wells.
    """
    files = open_wells(path)
    rows = rows_in_order(
        files.table.select("plate", "well").rows(),
        table.select("plate", "well").rows(),
        f"baseline {name} ({path}) has other wells than {source}",
        "make both from the same fields",
    )
    return Baseline(
        path,
        files.identity,
        partial(_read, path, rows, table),
        partial(_check, name, path, files, rows, table),
    )


def open_baseline_map(name: str, path: Path, profiles: ConsensusProfiles, source: Path) -> Baseline:
    """Open a map of the genes of `profiles`, which is the map `source`.

    Raises ValueError if `path` is no map, or has other genes or a row without a cosine.
    """
    # Read again when its turn comes, so that the maps of all baselines are not in memory.
    read = partial(read_baseline, name, path, profiles.names, source, aliases={})
    return Baseline(path, read().identity, read, lambda averaged: None)


def _check(
    name: str,
    path: Path,
    files: PlateFiles,
    rows: list[int],
    table: pl.DataFrame,
    averaged: Averaged,
) -> None:
    """Raise ValueError if a well is NaN or infinite, or all wells of an `averaged` profile are 0.

    `rows` are the wells of `files` in the order of `table`.
    """
    wrong, zero = np.zeros((2, len(files.table)), dtype=bool)
    counts = np.zeros(files.width, dtype=np.int64)
    for plate in files.files:
        of_plate, features = (files.table["plate"] == plate).to_numpy(), files.read(plate)
        wrong[of_plate] = find_non_finite(features)
        counts += count_non_finite(features)
        zero[of_plate] = ~features.any(axis=1)
    refuse_non_finite(files.table.filter(wrong), counts, path)
    zero = zero[rows]
    for codes in averaged(table) if zero.any() else ():
        lacking = zero & (codes >= 0) & ~np.isin(codes, codes[~zero])
        if lacking.any():
            plate, well = table.select("plate", "well").row(int(np.flatnonzero(lacking)[0]))
            raise ValueError(
                f"baseline {name} ({path}) has {lacking.sum()} wells that are all 0 and have no "
                f"cosine, first plate {plate}, well {well}: correct these features first "
                "(phenomae correct), or leave these wells out of all features"
            )


def _read(path: Path, rows: list[int], table: pl.DataFrame) -> Profiles:
    """Return the features of a baseline as features of the wells in `table`."""
    wells = read_wells(path)
    # The table of the first input, so that names, batches and controls are the same for all.
    return replace(wells, table=table, features=wells.features[rows])
