"""Adds plates to a store that is there: made beside it, then moved in."""

import os
from pathlib import Path

import polars as pl

from phenomae.artefacts import Origin, artefact_folder, remove_artefact
from phenomae.images.fields import Problem
from phenomae.progress import info
from phenomae.store.files import read_file
from phenomae.store.finish import finish_store, write_plates
from phenomae.store.inventory import IngestSettings, Inventory
from phenomae.store.read import KIND, REPORT, TABLE, open_store, read_store_signature, read_table
from phenomae.store.table import parse_problems, report_problems, write_table
from phenomae.urls import below

_ADDITION = "plates to add to a store"
# What all plates of a store must have in common.
_SHARED = ("channels", "dtype", "pixel_size_um", "bits", "low_percentile", "high_percentile")


def add_plates(
    raw: Path, store: Path | str, inventory: Inventory, settings: IngestSettings
) -> None:
    """Bring the plates of a plan into a store that is there.

    The store stays as it was until the last moment, and a stopped call goes on. Raises ValueError
    where there is no store, where its plates are of another kind, or where it has one of the name.
    """
    signature = read_store_signature(store)
    made = Origin(KIND, signature["settings"], signature["sources"])
    added = _added(store)
    if inventory.origin.sources["raw"] in made.sources.values():
        _clear(added)
        info(f"{store} has the plates of {raw} already")
        return
    _require_alike(store, made, inventory)
    if isinstance(added, Path):
        origin = Origin(
            _ADDITION,
            inventory.origin.settings,
            {**inventory.origin.sources, "store": signature["identity"]},
        )
        with artefact_folder(added, origin) as folder:
            if folder is not None:
                _make(folder, raw, inventory, settings)
        _move_in(added, store, inventory)
        table, problems = read_table(added), _read_problems(added)
    else:  # nothing can be moved there: plates are written where they stay
        table, problems = write_plates(store, raw, inventory, settings)
        problems = [*inventory.problems, *problems]
    number = len(made.sources) // 2 + 1
    more = {f"{name} {number}": value for name, value in inventory.origin.sources.items()}
    whole = pl.concat([open_store(store).fields, table]).sort("plate", maintain_order=True)
    every = [*_read_problems(store), *problems]
    finish_store(store, whole, every, Origin(KIND, made.settings, made.sources | more))
    _clear(added)
    info(f"{store}: {len(table)} fields of {table['plate'].n_unique()} plates more")


def _added(store: Path | str) -> Path | str:
    return store.with_name(store.name + ".added") if isinstance(store, Path) else store


def _clear(added: Path | str) -> None:
    if isinstance(added, Path) and added.exists():
        remove_artefact(added)


def _require_alike(store: Path | str, made: Origin, inventory: Inventory) -> None:
    for name in _SHARED:
        old, new = made.settings[name], inventory.origin.settings[name]
        if old != new:
            raise ValueError(
                f"{store} has {name} = {old!r}, but the plates to add have {new!r}: make another "
                "store of them"
            )
    there = set(read_table(store)["plate"].unique())
    if both := sorted(there & set(inventory.screen.plate_names)):
        raise ValueError(
            f"{store} has a plate {both[0]} already, made of other files: give the one to add "
            "another name, or make the store anew"
        )


def _make(folder: Path, raw: Path, inventory: Inventory, settings: IngestSettings) -> None:
    table, problems = write_plates(folder, raw, inventory, settings)
    write_table(folder / TABLE, table)
    (folder / REPORT).write_bytes(report_problems([*inventory.problems, *problems]))


def _move_in(added: Path, store: Path | str, inventory: Inventory) -> None:
    """Move plates into the store, but for those that a stopped call has moved."""
    assert isinstance(store, Path)
    for plate in inventory.screen.plate_names:
        if (added / f"{plate}.zarr").exists():
            os.replace(added / f"{plate}.zarr", store / f"{plate}.zarr")


def _read_problems(folder: Path | str) -> list[Problem]:
    return parse_problems(read_file(below(folder, REPORT)))
