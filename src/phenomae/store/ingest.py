"""`phenomae ingest RAW STORE`: raw plates into a store of OME-Zarr plates."""

from itertools import groupby
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from phenomae.artefacts import artefact_folder, hash_file, hash_json, sign
from phenomae.progress import say, track
from phenomae.store.plan import IngestSettings, plan_ingest
from phenomae.store.plate import write_plate
from phenomae.store.read import TABLE
from phenomae.store.table import print_plan, write_table


def ingest(
    raw: Path,
    store: Path,
    /,
    *,
    settings: IngestSettings = IngestSettings(),  # noqa: B008 (frozen)
    overwrite: bool = False,
) -> None:
    """Bring raw plates into a store of OME-Zarr plates.

    Parameters
    ----------
    raw
        A folder with LoadData CSVs or with images that `pattern` explains, or one LoadData CSV.
    store
        Folder to make.
    overwrite
        Replace a store that is there and was made otherwise.

    Raises
    ------
    ValueError
        Where anything is wrong with the listing, an image, the plate map or a setting. Nothing has
        been written then, unless a file turned out to be damaged as it was decoded.
    """
    plan = plan_ingest(raw, settings)
    if settings.dry_run:
        print_plan(plan.screen, plan.headers, plan.table, plan.plate_map)
        return
    with artefact_folder(store, plan.origin, overwrite) as folder:
        if folder is None:
            return
        windows: dict[str, Float64[np.ndarray, "c 2"]] = {}
        checksums: list[str] = []
        with track("ingesting", len(plan.screen.fields), "fields") as advance:
            for plate, fields in groupby(plan.screen.fields, key=lambda field: field.plate):
                windows[plate], found = write_plate(folder, list(fields), plan, settings, advance)
                checksums += found
        write_table(folder / TABLE, plan.table, windows, checksums)
        identity = hash_json([plan.origin.identity, hash_file(folder / TABLE)])
        sign(folder, plan.origin, identity)
    say(f"{store}: {len(checksums)} fields of {len(windows)} plates")
