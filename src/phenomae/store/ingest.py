"""`phenomae ingest RAW STORE`: raw plates into a store of OME-Zarr plates."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from phenomae.artefacts import Origin, artefact_folder
from phenomae.progress import info
from phenomae.store.add import add_plates
from phenomae.store.finish import finish_store, write_plates
from phenomae.store.inventory import IngestSettings, refuse_problems, take_inventory
from phenomae.store.remote import remote_artefact
from phenomae.store.table import print_inventory
from phenomae.urls import Location


def ingest(
    raw: Path,
    store: Location,
    /,
    *,
    settings: IngestSettings = IngestSettings(),  # noqa: B008 (frozen)
    add: bool = False,
    overwrite: bool = False,
) -> None:
    """Bring raw plates into a store of OME-Zarr plates.

    Parameters
    ----------
    raw
        A folder as a microscope or a public data set left it, or its index file.
    store
        Folder to make, or s3:// address.
    add
        Add the plates to a store that is there, of the same channels and kind.
    overwrite
        Replace a store that is there and was made otherwise.

    Raises
    ------
    ValueError
        Where anything is wrong with the listing, an image, the plate map or a setting. Nothing has
        been written then, unless a file turned out to be damaged as it was decoded.
    """
    if add and overwrite:
        raise ValueError("add keeps the plates that are there, overwrite does not: choose one")
    inventory = take_inventory(raw, settings)
    if settings.dry_run:
        print_inventory(
            inventory.screen,
            inventory.headers,
            inventory.table,
            inventory.plate_map,
            inventory.pixel_size_um,
            inventory.problems,
        )
    refuse_problems(raw, inventory.problems, settings)
    if settings.dry_run:
        return
    if add:
        add_plates(raw, store, inventory, settings)
        return
    with _open_folder(store, inventory.origin, overwrite) as folder:
        if folder is None:
            return
        table, problems = write_plates(folder, raw, inventory, settings)
        finish_store(folder, table, [*inventory.problems, *problems], inventory.origin)
    info(f"{store}: {len(table)} fields of {table['plate'].n_unique()} plates")


@contextmanager
def _open_folder(store: Path | str, origin: Origin, overwrite: bool) -> Iterator[Path | str | None]:
    opened = (
        artefact_folder(store, origin, overwrite)
        if isinstance(store, Path)
        else remote_artefact(store, origin, overwrite)
    )
    with opened as folder:
        yield folder
