"""`phenomae ingest RAW STORE`: raw plates into a store of OME-Zarr plates."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from phenomae.artefacts import Origin, artefact_folder
from phenomae.paths import PathLike
from phenomae.progress import info
from phenomae.store.add import add_plates
from phenomae.store.finish import finish_store, write_plates
from phenomae.store.inventory import IngestSettings, refuse_problems, take_inventory
from phenomae.store.read import Store, open_store
from phenomae.store.remote import remote_artefact
from phenomae.store.table import print_inventory
from phenomae.urls import Location, locate


def ingest(
    raw: PathLike,
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
        A folder as a microscope or a public data set left it, or its index file.
    store
        Folder to make, or s3:// address.
    add
        Add the plates to an existing store with the same channels, bits and pixel size.
    overwrite
        Replace an existing store that was made with other settings or from other files.

    Returns
    -------
    The store, also if it was finished before; None after a dry run.

    Raises
    ------
    ValueError
        If anything is wrong with the listing, an image, the plate map or a setting. Nothing has
        been written then, unless a file turned out to be damaged when it was decoded.
    """
    if add and overwrite:
        raise ValueError("add and overwrite exclude each other: leave one out")
    path = locate(store)
    inventory = take_inventory(Path(raw), settings)
    if settings.dry_run:
        print_inventory(inventory)
    refuse_problems(inventory, inventory.problems)
    if settings.dry_run:
        return None
    if add:
        add_plates(path, inventory)
        return open_store(path)
    with _open_folder(path, inventory.origin, overwrite) as folder:
        if folder is not None:
            table, problems = write_plates(folder, inventory)
            finish_store(folder, table, [*inventory.problems, *problems], inventory.origin)
    opened = open_store(path)
    if folder is not None:
        info(f"{path}: {len(opened.fields)} fields of {opened.fields['plate'].n_unique()} plates")
    return opened


@contextmanager
def _open_folder(store: Path | str, origin: Origin, overwrite: bool) -> Iterator[Path | str | None]:
    """Yield the folder or address to write to, or None if the same store is already finished."""
    # S3 cannot rename, so the two kinds of places follow different rules.
    opened = (
        artefact_folder(store, origin, overwrite)
        if isinstance(store, Path)
        else remote_artefact(store, origin, overwrite)
    )
    with opened as folder:
        yield folder
