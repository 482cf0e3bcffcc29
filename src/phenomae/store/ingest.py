"""`phenomae ingest RAW STORE`: raw plates into a store of OME-Zarr plates."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from phenomae.artefacts import Origin, artefact_folder
from phenomae.progress import info
from phenomae.store.add import add_plates
from phenomae.store.finish import finish_store, write_plates
from phenomae.store.plan import IngestSettings, plan_ingest, refuse_problems
from phenomae.store.remote import remote_artefact
from phenomae.store.table import print_plan
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
    plan = plan_ingest(raw, settings)
    if settings.dry_run:
        print_plan(
            plan.screen,
            plan.headers,
            plan.table,
            plan.plate_map,
            plan.pixel_size_um,
            plan.problems,
        )
    refuse_problems(raw, plan.problems, settings)
    if settings.dry_run:
        return
    if add:
        add_plates(raw, store, plan, settings)
        return
    with _open_folder(store, plan.origin, overwrite) as folder:
        if folder is None:
            return
        table, problems = write_plates(folder, raw, plan, settings)
        finish_store(folder, table, [*plan.problems, *problems], plan.origin)
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
