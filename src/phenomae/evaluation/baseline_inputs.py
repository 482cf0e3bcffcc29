"""Baselines as inputs of `ask`: features of the same wells, or a map of the same genes.

A baseline is checked when it is opened, before anything is written, and read when its turn comes,
so that the features of one baseline at a time are in memory.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from phenomae.evaluation.baseline_maps import read_baseline, rows_in_order
from phenomae.maps.read import ConsensusProfiles
from phenomae.wells import Profiles, open_wells, read_wells


@dataclass(frozen=True)
class Baseline:
    """A baseline that was found to have the wells or genes of the input it is compared with."""

    path: Path
    identity: str
    read: Callable[[], Any]
    """Returns what the question takes, with wells or genes in the order of its first input."""


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
    return Baseline(path, files.identity, partial(_read, path, rows, table))


def open_baseline_map(name: str, path: Path, profiles: ConsensusProfiles, source: Path) -> Baseline:
    """Open a map of the genes of `profiles`, which is the map `source`.

    Raises ValueError if `path` is no map, or has other genes or a row without a cosine.
    """
    # Read again when its turn comes, so that the maps of all baselines are not in memory.
    read = partial(read_baseline, name, path, profiles.names, source, aliases={})
    return Baseline(path, read().identity, read)


def _read(path: Path, rows: list[int], table: pl.DataFrame) -> Profiles:
    """Return the features of a baseline as features of the wells in `table`."""
    wells = read_wells(path)
    # The table of the first input, so that names, batches and controls are the same for all.
    return replace(wells, table=table, features=wells.features[rows])
