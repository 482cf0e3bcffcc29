"""`phenomae store check STORE`: verifies that a store is complete and unchanged since ingest.

The check compares the files with the table of fields, and so finds missing, changed, exchanged and
extra files. All damage is found, not only the first.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from phenomae.checks import at_least, whole_number
from phenomae.cores import available_cores
from phenomae.images.threads import map_in_threads
from phenomae.progress import count_of, info, tracked
from phenomae.signatures import Origin
from phenomae.store.damage import ListedField, find_field_damage, find_group_damage
from phenomae.store.files import read_file
from phenomae.store.finish import identify
from phenomae.store.in_place import find_reference_damage
from phenomae.store.metadata import plate_attributes
from phenomae.store.read import (
    REPORT,
    TABLE,
    Store,
    open_store,
    read_field,
    read_store_signature,
)
from phenomae.store.table import parse_problems, report_problems
from phenomae.store.write import checksum
from phenomae.urls import Location, below, list_addresses, locate

_SHOWN = 50
_REQUESTS = 32  # concurrent requests to S3, more than cores: threads mostly wait for the server
_NEEDED = ("plate", "well", "site", "path", "height", "width", "checksum")
# Plates, rows, wells and images. Other and deeper folders may be tables and labels that other
# tools have written, so they are no damage.
_GROUP = re.compile(r"[^/]+\.zarr(/[A-Z]{1,2}(/[0-9]+){0,2})?")
_IMAGE = re.compile(r"([^/\\.][^/\\]*)\.zarr/([A-Z]{1,2})/([0-9]{2,})/[0-9]+")


def check_store(store: Location, /, *, quick: bool = False, workers: int | None = None) -> Store:
    """Verify that a store is complete and unchanged since ingest.

    The check covers the signature and identity, the table of fields, the metadata of every plate,
    row, well and image, the checksum of every field's pixels, and whether the table lists every
    plate, row, well and image in the folder.

    Parameters
    ----------
    store
        Folder or s3:// address of a store.
    quick
        Decode no pixels: check metadata, and of every field's shard only the index.
    workers
        Number of fields read at once; None is one per core, or 32 for an s3:// address.

    Returns
    -------
    The store, which is undamaged.

    Raises
    ------
    ValueError
        If there is no finished store, or if the store is damaged. The first 50 problems are
        printed before, one per line.
    """
    workers = whole_number("workers", workers)
    at_least("workers", workers, 1)
    path = locate(store)
    workers = workers or (available_cores() if isinstance(path, Path) else _REQUESTS)
    opened = open_store(path)
    first, count = "", 0
    for count, problem in enumerate(find_damage(opened, quick, workers), start=1):
        first = first or problem
        if count <= _SHOWN:
            info(f"damaged: {problem}")
    if count > _SHOWN:
        info(f"damaged: and {count - _SHOWN} more")
    if count:
        noun = "1 problem" if count == 1 else f"{count} problems, the first"
        raise ValueError(f"{path} is damaged: {noun}: {first}")
    plates = opened.fields["plate"].n_unique()
    fields = count_of(len(opened.fields), "field")
    print(f"{path}: {fields} of {count_of(plates, 'plate')}, no damage found")
    if opened.references is not None:
        times = "pixels (only the times of their files) and " if quick else ""
        info(f"not compared: {times}the names of channels and pixel size in the plates themselves")
    return opened


def find_damage(store: Store, quick: bool, workers: int) -> Iterator[str]:
    """Yield one sentence per problem of a store; its table of fields must be readable."""
    yield from _find_table_damage(store)
    yield from _find_report_damage(store)
    sound = _sound_rows(store)
    bad = set(range(len(store.fields))) - set(sound)
    yield from (f"{TABLE}: row {row} does not describe a field" for row in sorted(bad))
    if store.references is not None:
        yield from _find_strangers(store, set())
        yield from _find_damage_in_place(store, sound, quick, workers)
        return
    groups = expected_groups(store.fields[sound])
    for wrong in map_in_threads(
        lambda item: find_group_damage(store.path, *item), list(groups.items()), workers
    ):
        yield from wrong
    yield from _find_strangers(store, {*groups, *store.fields["path"].drop_nulls()})
    yield from find_listed_damage(store, sound, quick, workers)


def find_listed_damage(
    store: Store, rows: Sequence[int], quick: bool, workers: int
) -> Iterator[str]:
    """Yield one sentence per problem of the fields in these rows of the table: images, pixels."""
    fields = [_listed(store, row) for row in rows]
    look = partial(find_field_damage, store.path, quick)
    found = map_in_threads(look, fields, workers)
    for wrong in tracked(found, "checking", len(fields), "fields"):
        yield from wrong


def _find_damage_in_place(
    store: Store, rows: Sequence[int], quick: bool, workers: int
) -> Iterator[str]:
    """Yield one sentence per field whose array is not there or has changed since ingest."""
    assert store.references is not None
    references = store.references

    def look(row: int) -> str | None:
        path, expected = store.fields["path"][row], store.fields["checksum"][row]
        damage = find_reference_damage(references.get(path), store.dtype, store.identity, quick)
        if damage is None and not quick:
            try:
                if checksum(read_field(store, row)) != expected:
                    damage = f"the pixels of {store.locate_array(row)} have changed since ingest"
            except ValueError as error:
                damage = str(error)
        return damage and f"{path}: {damage}"

    found = map_in_threads(look, rows, workers)
    for damage in tracked(found, "checking", len(rows), "fields"):
        if damage is not None:
            yield damage


def _find_table_damage(store: Store) -> Iterator[str]:
    signature = read_store_signature(store.path)
    origin = Origin(signature["kind"], signature["settings"], signature["sources"])
    if identify(origin, read_file(below(store.path, TABLE))) != store.identity:
        yield f"{TABLE} and artefact.json do not belong together: one of them was changed"
    for names in (["path"], ["plate", "well", "site"]):
        if store.fields.select(names).is_duplicated().any():
            yield f"{TABLE} lists a field twice ({', '.join(names)})"


def _find_report_damage(store: Store) -> Iterator[str]:
    header = report_problems([])
    try:
        content = read_file(below(store.path, REPORT))
        parse_problems(content)
    except FileNotFoundError:
        yield f"{REPORT} is missing"
    except (pl.exceptions.PolarsError, OSError) as error:
        yield f"{REPORT} cannot be read as a table: {str(error).splitlines()[0]}"
    else:
        if not content.startswith(header):
            yield f"{REPORT} does not begin with {header.decode().strip()}"
            return
        files = read_store_signature(store.path)["files"]
        if files is not None and hashlib.sha256(content).hexdigest() != files.get(REPORT):
            yield f"{REPORT} has changed since ingest (its SHA-256 is not that in artefact.json)"


def _sound_rows(store: Store) -> list[int]:
    """Return the indices of the complete rows whose path lies in the row's own plate and well.

    The paths of other rows are not opened, because they may lead out of the store.
    """
    count = len(store.channels)
    sound: list[int] = []
    for index, row in enumerate(store.fields.iter_rows(named=True)):
        windows = row["window_low"] or (), row["window_high"] or ()
        if any(row[name] is None for name in _NEEDED) or [*map(len, windows)] != [count, count]:
            continue
        image = _IMAGE.fullmatch(row["path"])
        if image and (image[1], image[2] + image[3]) == (row["plate"], row["well"]):
            sound.append(index)
    return sound


def expected_groups(fields: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """Return the expected attributes of the groups of plates, rows and wells, keyed by path."""
    groups: dict[str, dict[str, Any]] = {}
    for (plate,), rows in fields.group_by("plate", maintain_order=True):
        for name, attributes in plate_attributes(str(plate), rows["path"].to_list()).items():
            groups[f"{plate}.zarr/{name}".rstrip("/")] = attributes
    return groups


def _listed(store: Store, row: int) -> ListedField:
    values = store.fields.row(row, named=True)
    return ListedField(
        path=values["path"],
        channels=store.channels,
        height=values["height"],
        width=values["width"],
        dtype=store.dtype,
        pixel_size_um=store.pixel_size_um,
        windows=tuple(zip(values["window_low"], values["window_high"], strict=True)),
        checksum=values["checksum"],
    )


def _find_strangers(store: Store, listed: set[str]) -> Iterator[str]:
    """Yield one sentence per plate, row, well or image that exists but is not in the table."""
    found = {name for name in _list_folders(store.path) if _GROUP.fullmatch(name)} - listed
    for name in sorted(found):
        if name.rpartition("/")[0] not in found:  # its parent has been reported already
            yield f"{name}: {TABLE} does not list it"


def _list_folders(location: Path | str) -> Iterator[str]:
    """Yield the relative paths of plates, rows, wells and images, with forward slashes."""
    if isinstance(location, Path):
        for depth in range(1, 5):
            for path in location.glob("/".join(["*.zarr", *"*" * (depth - 1)])):
                if path.is_dir():
                    yield path.relative_to(location).as_posix()
        return
    # S3 lists only objects: folders exist as prefixes of object names.
    for name in list_addresses(location):
        folders = name.split("/")[:-1]
        yield from ("/".join(folders[:depth]) for depth in range(1, min(len(folders), 4) + 1))
