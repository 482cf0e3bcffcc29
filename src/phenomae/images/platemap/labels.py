"""Replaces the labels of wells that exist already by those of a plate map.

Labels are the columns `records.LABEL_COLUMNS`. All of them are replaced, also by empty cells: the
result is that of an ingest with the same plate map.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Bool

from phenomae.images.platemap.match import require_same_wells
from phenomae.images.platemap.plate_map import find_named_map, hash_sources, read_plate_map
from phenomae.images.platemap.settings import PlateMapSettings
from phenomae.progress import count_of, info
from phenomae.records import LABEL_COLUMNS
from phenomae.signatures import Origin, settings_dict

KIND = "labels"
_FILES = ("plate_map", "barcode_map", "metadata")
# `unimaged` has no effect on wells that are there.
_NOT_IDENTITY = (*_FILES, "unimaged")


@dataclass(frozen=True)
class Labels:
    """A plate map that was read, to replace the labels of wells."""

    path: Path
    table: pl.DataFrame
    """One row per well, the columns of `records.PLATE_MAP_COLUMNS`."""
    settings: PlateMapSettings
    hashes: dict[str, str]
    """SHA-256 of each file, by the setting that names it."""

    @cached_property
    def origin(self) -> Origin:
        """What determines the labels: the settings that are not the default, and the files."""
        return Origin(KIND, changed_settings(self.settings), self.hashes)

    @property
    def sources(self) -> dict[str, str]:
        """What is recorded among the sources of an artefact with these labels."""
        return {KIND: self.origin.identity, **self.hashes}


def changed_settings(settings: PlateMapSettings) -> dict[str, Any]:
    """Return the settings that determine labels and are not the default, without files."""
    default = settings_dict(PlateMapSettings())
    return {
        name: value
        for name, value in settings_dict(settings).items()
        if name not in _NOT_IDENTITY and value != default[name]
    }


def read_labels(
    settings: PlateMapSettings, plates: Sequence[str], elsewhere: Collection[str] = ()
) -> Labels | None:
    """Return the labels that the settings name, for `plates`; None if they name no plate map.

    `elsewhere` are column settings that name columns of the table of wells.

    Raises ValueError as `plate_map.read_plate_map` does, or for a setting without a plate map.
    """
    path = find_named_map(settings, Path())
    if path is None:
        given = [item.name for item in fields(settings) if _is_given(settings, item.name)]
        if given:
            raise ValueError(f"{given[0]} is only used with a plate map: set plate_map, too")
        return None
    names = sorted(set(plates))
    hashes = hash_sources(path, settings, names)
    return Labels(path, read_plate_map(path, settings, names, elsewhere), settings, hashes)


def _is_given(settings: PlateMapSettings, name: str) -> bool:
    return getattr(settings, name) != getattr(PlateMapSettings, name)


def replace_labels(
    table: pl.DataFrame,
    labels: Labels,
    noun: str,
    bad: Collection[tuple[str | None, str | None]] = (),
) -> tuple[pl.DataFrame, Bool[np.ndarray, " n"]]:
    """Return a table of fields or wells with other labels, and which of its rows are kept.

    With `unmapped = keep`, wells that the plate map lacks have no labels and are no controls; with
    `skip` their rows are not to be kept. `noun` and `bad` are as in `match.require_same_wells`.
    Columns that had labels and are empty now are printed.

    Raises ValueError if the wells of table and plate map differ and the settings do not allow it.
    """
    keys = table.select("plate", "well")
    mapped = {*labels.table.select("plate", "well").iter_rows()}
    found = list(dict.fromkeys(keys.iter_rows()))
    require_same_wells(labels.path, mapped, found, bad, labels.settings, noun)
    new = keys.join(labels.table, on=["plate", "well"], how="left", maintain_order="left")
    new = new.with_columns(pl.col("control").fill_null(False))
    _report_emptied(table, new, labels.path)
    kept = np.ones(len(table), dtype=bool)
    if labels.settings.unmapped == "skip":
        kept = np.array([well in mapped for well in keys.iter_rows()], dtype=bool)
        if left_out := len(found) - len(mapped.intersection(found)):
            info(f"{labels.path}: left out {count_of(left_out, 'well')} that it does not name")
    return table.with_columns(new.select(list(LABEL_COLUMNS))), kept


def _report_emptied(old: pl.DataFrame, new: pl.DataFrame, path: Path) -> None:
    emptied = [
        name
        for name in LABEL_COLUMNS
        if old[name].is_not_null().any() and not new[name].is_not_null().any()
    ]
    if emptied:
        info(f"{path} has no {', '.join(emptied)}: these labels are empty now")
