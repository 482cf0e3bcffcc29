"""Adds plates to an existing store: on a disk, plates are written beside the store, then moved in.

Readers see the old store until its table of fields is replaced, which happens in one step: plates
that the table does not list are ignored.
"""

import os
from pathlib import Path

import polars as pl

from phenomae.artefacts import artefact_folder, remove_artefact
from phenomae.progress import count_of, info
from phenomae.signatures import Origin, read_signature, sign
from phenomae.store.finish import changing, finish_store, write_plates
from phenomae.store.in_place import read_references, write_references
from phenomae.store.inventory import Inventory
from phenomae.store.raw_files import read_times, write_times
from phenomae.store.read import (
    KIND,
    REPORT,
    TABLE,
    open_store,
    read_fields,
    read_store_signature,
    read_table,
)
from phenomae.store.refer import reopen
from phenomae.store.table import read_problems, report_problems, write_table
from phenomae.whole_files import sha256_of, write_bytes

_ADDITION = "plates to add to a store"
# A network takes all plates of a store in the same way, so these settings must agree.
_SHARED = (
    "channels",
    "dtype",
    "pixel_size_um",
    "bits",
    "low_percentile",
    "high_percentile",
    "in_place",
)


def add_plates(store: Path | str, inventory: Inventory) -> None:
    """Add the plates of an inventory to a finished store.

    A repeated call continues an interrupted one; if that was finished, a store in place refers to
    where the plates are now. Raises ValueError if `store` is not a finished store, if its channels,
    dtype, pixel size, bits or window percentiles differ from those of the inventory, if it already
    has a plate of the same name made from other files, or if the files have changed since.
    """
    signature = read_store_signature(store)
    origin = Origin(KIND, signature["settings"], signature["sources"])
    added = _added(store)
    # A command that is repeated after it finished finds its own files among the store's sources.
    if inventory.origin.sources["raw"] in origin.sources.values():
        _clear(added)
        info(f"{store} has the plates of {inventory.path} already")
        reopen(store, inventory)
        return
    _require_alike(store, origin, inventory)
    known = read_problems(store, signature)  # before hours of writing, in case it is damaged
    if isinstance(added, Path):
        addition = Origin(
            _ADDITION,
            inventory.origin.settings,
            {**inventory.origin.sources, "store": signature["identity"]},
        )
        with artefact_folder(added, addition) as folder:
            if folder is not None:
                _make(folder, inventory, addition)
        write_times(store, {**read_times(store), **read_times(added)})
        if inventory.settings.in_place:
            write_references(store, {**read_references(store), **read_references(added)})
        _move_in(added, store, inventory)
        signed = read_signature(added)
        table, problems = read_table(added, signed), read_problems(added, signed)
    else:  # S3 cannot rename, so the plates are written straight to their final place
        table, problems = write_plates(store, inventory)
        problems = [*inventory.problems, *problems]
    number = len(origin.sources) // 2 + 1  # every ingest records two sources: raw and wells
    more = {f"{name} {number}": value for name, value in inventory.origin.sources.items()}
    # With the labels of ingest: those that replace them stay in a table of their own.
    fields = read_fields(store, signature)
    whole = pl.concat([fields, table]).sort("plate", maintain_order=True)
    every = [*known, *problems]
    with changing(store):
        finish_store(store, whole, every, Origin(KIND, origin.settings, origin.sources | more))
    _clear(added)
    plates = table["plate"].n_unique()
    info(f"{store}: added {count_of(len(table), 'field')} of {count_of(plates, 'plate')}")


def _added(store: Path | str) -> Path | str:
    """Return the folder or address to which plates are written before the store lists them."""
    return store.with_name(store.name + ".added") if isinstance(store, Path) else store


def _clear(added: Path | str) -> None:
    if isinstance(added, Path) and added.exists():
        remove_artefact(added)


def _require_alike(store: Path | str, origin: Origin, inventory: Inventory) -> None:
    for name in _SHARED:
        # Of in_place, which older stores do not record.
        old, new = origin.settings.get(name, False), inventory.origin.settings.get(name, False)
        if old != new:
            raise ValueError(
                f"{store} has {name} = {old!r}, but the plates to add have {new!r}: ingest them "
                "into another store"
            )
    there = set(open_store(store).fields["plate"].unique())
    if both := sorted(there & set(inventory.raw.plate_names)):
        raise ValueError(
            f"{store} already has a plate {both[0]} made from other files: rename the plate to "
            "add, or make the store again"
        )


def _make(folder: Path, inventory: Inventory, origin: Origin) -> None:
    table, problems = write_plates(folder, inventory)
    write_table(folder / TABLE, table)
    write_bytes(folder / REPORT, report_problems([*inventory.problems, *problems]))
    # Not the plates, which are moved away one by one; the table has their checksums.
    files = {name: sha256_of(folder / name) for name in (TABLE, REPORT)}
    sign(folder, origin, origin.identify(files), files)


def _move_in(added: Path, store: Path | str, inventory: Inventory) -> None:
    """Move the plates into the store, except those that an interrupted call has already moved."""
    assert isinstance(store, Path)
    for plate in inventory.raw.plate_names:
        if (added / f"{plate}.zarr").exists():
            os.replace(added / f"{plate}.zarr", store / f"{plate}.zarr")
