"""`phenomae store relabel STORE`: replaces the labels of a store's wells; its pixels stay.

The labels are a table beside the table of fields, `labels.parquet`, with an identity of its own. So
wells that were made before keep their source, and what is made afterwards names the new labels too.
"""

import hashlib
from dataclasses import replace
from pathlib import Path

from phenomae.images.platemap.labels import Labels, read_labels, replace_labels
from phenomae.images.platemap.settings import PlateMapSettings
from phenomae.progress import count_of, info
from phenomae.records import PLATE_MAP_COLUMNS
from phenomae.signatures import Origin
from phenomae.store.finish import changing, replace_files
from phenomae.store.read import LABELS, Store, open_store, read_store_signature
from phenomae.store.table import encode_table, read_problems
from phenomae.urls import Location, locate


def relabel_store(
    store: Location,
    /,
    *,
    settings: PlateMapSettings = PlateMapSettings(),
) -> Store:
    """Replace the labels of a store's wells by those of a plate map; the pixels stay.

    All labels are replaced (batch, perturbation, gene, guide, compound, concentration, control), so
    that the table of fields is that of an ingest with this plate map. Later plates of `ingest
    --add` have the labels of their own plate map. An interrupted call leaves the old labels or the
    new ones.

    Parameters
    ----------
    store
        Folder or s3:// address of a store.
    settings
        The plate map, and the names of its columns. `unmapped` is error or keep: wells of a store
        cannot be left out.

    Returns
    -------
    The store with its new labels.

    Raises
    ------
    ValueError
        If there is no finished store, no plate map is named, the plate map is wrong, or its wells
        are not those of the store.
    """
    path = locate(store)
    if settings.unmapped == "skip":
        raise ValueError(
            "unmapped must be error or keep, not skip: wells of a store cannot be left out"
        )
    open_store(path)  # before the lock, which is only for stores
    with changing(path):
        # Again, because another call may have added plates until the lock was free.
        relabelled, labels = _relabel(open_store(path), settings)
        if labels is None:
            raise ValueError("a store is relabelled by a plate map: set plate_map")
        _write(path, relabelled, labels)
    wells = relabelled.fields.select("plate", "well").n_unique()
    info(f"{path}: {count_of(wells, 'well')} have the labels of {labels.path}")
    return open_store(path)


def relabel_fields(store: Store, settings: PlateMapSettings) -> Store:
    """Return a store whose fields have the labels of the plate map that the settings name.

    Nothing is written. Without a plate map the store is returned unchanged. Raises ValueError as
    `relabel_store` does.
    """
    return _relabel(store, settings)[0]


def _relabel(store: Store, settings: PlateMapSettings) -> tuple[Store, Labels | None]:
    labels = read_labels(settings, store.fields["plate"].unique().to_list())
    if labels is None:
        return store, None
    # A well whose fields were all left out by ingest was imaged nevertheless.
    problems = read_problems(store.path, read_store_signature(store.path))
    bad = {(problem.plate, problem.well) for problem in problems}
    fields, kept = replace_labels(store.fields, labels, "images", bad)
    return replace(store, fields=fields.filter(kept), label_sources=labels.sources), labels


def _write(path: Path | str, store: Store, labels: Labels) -> None:
    columns = list(PLATE_MAP_COLUMNS)
    table = store.fields.select(columns).unique(["plate", "well"], maintain_order=True)
    content = encode_table(table)
    signature = read_store_signature(path)
    made = labels.origin.identify({LABELS: hashlib.sha256(content).hexdigest()})
    record = {"settings": labels.origin.settings, "sources": labels.hashes, "identity": made}
    origin = Origin(signature["kind"], signature["settings"], signature["sources"])
    replace_files(path, signature, {LABELS: content}, origin, signature["identity"], record)
