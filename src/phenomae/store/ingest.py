"""`phenomae ingest RAW STORE`: converts raw plates into a store of OME-Zarr plates."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from phenomae.artefacts import artefact_folder
from phenomae.progress import count_of, info
from phenomae.signatures import Origin
from phenomae.store.add import add_plates
from phenomae.store.finish import finish_store, write_plates
from phenomae.store.inventory import (
    IngestSettings,
    Inventory,
    refuse_problems,
    take_inventory,
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

    Returns
    -------
    The store, also if it was already finished; None after a dry run.

    Raises
    ------
    ValueError
        If a setting, the index file, an image or the plate map is wrong.
    """
    if add and overwrite:
        raise ValueError("setting add and setting overwrite exclude each other: leave one out")
    path = locate(store)
    inventory = take_inventory(locate(raw), settings)
    if settings.dry_run:
        print_inventory(inventory)
    refuse_problems(inventory, inventory.problems)
    if settings.dry_run:
        return None
    if add:
        add_plates(path, inventory)
        return open_store(path)
    with _open_folder(path, inventory.origin, overwrite) as folder:
        if folder is None:
            return _reopen(path, inventory)
        table, problems = write_plates(folder, inventory)
        finish_store(folder, table, [*inventory.problems, *problems], inventory.origin)
    plates = table["plate"].n_unique()
    where = f", whose pixels stay in {inventory.path}" if settings.in_place else ""
    info(f"{path}: {count_of(len(table), 'field')} of {count_of(plates, 'plate')}{where}")
    return open_store(path)


def _reopen(path: Path | str, inventory: Inventory) -> Store:
    """Return a store that is there already; raises ValueError if its raw files have changed."""
    store = reopen(path, inventory)
    if store.label_sources:
        info(f"{path} has the labels that store relabel gave, not those of this plate map")
    return store


@contextmanager
def _open_folder(store: Path | str, origin: Origin, overwrite: bool) -> Iterator[Path | str | None]:
    """Yield the folder or address to write to, or None if the same store is already finished."""
    # A folder is written as STORE.partial and renamed at the end, which S3 cannot do.
    opened = (
        artefact_folder(store, origin, overwrite)
        if isinstance(store, Path)
        else remote_artefact(store, origin, overwrite)
    )
    with opened as folder:
        yield folder
