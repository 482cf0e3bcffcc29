"""`phenomae ingest RAW STORE`: converts raw plates into a store of OME-Zarr plates."""

from functools import cache
from pathlib import Path

import polars as pl

from phenomae.progress import count_of, info
from phenomae.shards import Shard, find_shard, require_shared_disk
from phenomae.shared_artefacts import is_finished, shared_folder
from phenomae.store.add import add_plates
from phenomae.store.finish import finish_store, gather_plates, write_parts, write_plates
from phenomae.store.inventory import (
    IngestSettings,
    Inventory,
    refuse_problems,
    take_inventory,
)
from phenomae.store.part_rows import part_units, remove_rows
from phenomae.store.parts import cut_plates
from phenomae.store.raw_files import (
    begin_plates,
    find_changed,
    hash_times,
    read_times,
    require_same_times,
)
from phenomae.store.read import Store, open_store
from phenomae.store.refer import reopen
from phenomae.store.remote import remote_artefact
from phenomae.store.table import print_inventory
from phenomae.urls import Location, locate


def ingest(
    raw: Location,
    store: Location,
    /,
    *,
    settings: IngestSettings = IngestSettings(),  # noqa: B008 (frozen)
    add: bool = False,
    overwrite: bool = False,
    shard: str | None = None,
) -> Store | None:
    """Convert raw plates into a store of OME-Zarr plates.

    Parameters
    ----------
    raw
        Folder of a microscope or a public data set, or its index file; or the address of an
        OME-Zarr plate.
    store
        Folder or s3:// address to write.
    add
        Add the plates to an existing store of the same channels, dtype, pixel size and scaling.
    overwrite
        Replace an existing store made with other settings or from other files.
    shard
        I/N: this call is the I-th of N that fill the same folder together, plate by plate, and
        large plates by ranges of fields. By default SLURM (job arrays) and torchrun tell; 1/1 is a
        call alone.

    Returns
    -------
    The store, also if it was already finished; None after a dry run, and while other shards write.

    Raises
    ------
    ValueError
        If a setting, the index file, an image or the plate map is wrong, or if shards disagree on
        their number.
    """
    if add and overwrite:
        raise ValueError("setting add and setting overwrite exclude each other: leave one out")
    path = locate(store)
    share = _find_shard(path, add, shard)
    inventory = take_inventory(locate(raw), settings)
    if settings.dry_run:
        print_inventory(inventory)
    refuse_problems(inventory, inventory.problems)
    if settings.dry_run:
        return None
    if add:
        add_plates(path, inventory)
    elif isinstance(path, Path):
        return _fill_folder(path, inventory, share, overwrite)
    else:
        with remote_artefact(path, inventory.origin, overwrite) as address:
            if address is None:
                return _reopen(path, inventory)
            table, problems = write_plates(address, inventory)
            finish_store(address, table, [*inventory.problems, *problems], inventory.origin)
        _report(path, inventory, table)
    return open_store(path)


def _find_shard(path: Path | str, add: bool, given: str | None) -> Shard | None:
    """Return the shard that this call is; None if it writes the store alone.

    Raises ValueError if a shard is given for what one process writes, or if other nodes cannot see
    the folder.
    """
    if isinstance(path, Path) and not add:
        shard = find_shard(given)
        if shard is not None:
            require_shared_disk(path)  # before all images are listed
        return shard
    if given is not None and find_shard(given) is not None:
        what = "plates are added" if add else f"{path}, an address, is written"
        raise ValueError(
            f"{what} by one process, because shards fill a new folder on a shared disk: leave "
            "setting shard out, or ingest into a folder of its own"
        )
    return None


def _fill_folder(
    path: Path, inventory: Inventory, share: Shard | None, overwrite: bool
) -> Store | None:
    """Write a store to a folder, alone or as a shard; return it if it is finished."""
    plates = cut_plates(inventory)
    times = cache(lambda: hash_times(inventory))  # only if it is needed: it looks at all files

    def prepare(folder: Path) -> None:
        begin_plates(folder, plates, inventory, times())

    def finish(folder: Path) -> None:
        table, problems = gather_plates(folder, inventory)
        finish_store(folder, table, [*inventory.problems, *problems], inventory.origin)
        # Last: if this is stopped before, nothing has to be read again.
        remove_rows(folder)
        tables.append(table)

    def is_current(store: Path) -> bool:
        return not find_changed(read_times(store), times())

    tables: list[pl.DataFrame] = []
    origin, units = inventory.origin, part_units(plates)
    with shared_folder(
        path, origin, units, share, overwrite, prepare, finish, is_current
    ) as shared:
        if shared is not None:
            require_same_times(shared.folder, inventory, times())
            problems = write_parts(shared.folder, inventory, shared)
            # Not only the last shard, which reports all of them, is to end with an error.
            if share is not None and inventory.settings.on_bad == "error":
                refuse_problems(inventory, problems)
    if tables:
        _report(path, inventory, tables[0])
        return open_store(path)
    # A store of the same origin that is not current is one that other shards overwrite.
    is_there = is_finished(path, origin) and (share is None or not overwrite or is_current(path))
    return _reopen(path, inventory) if is_there else None


def _report(path: Path | str, inventory: Inventory, table: pl.DataFrame) -> None:
    plates = table["plate"].n_unique()
    where = f", whose pixels stay in {inventory.path}" if inventory.settings.in_place else ""
    info(f"{path}: {count_of(len(table), 'field')} of {count_of(plates, 'plate')}{where}")


def _reopen(path: Path | str, inventory: Inventory) -> Store:
    """Return a store that is there already; raises ValueError if its raw files have changed."""
    store = reopen(path, inventory)
    if store.label_sources:
        info(f"{path} has the labels that store relabel gave, not those of this plate map")
    return store
