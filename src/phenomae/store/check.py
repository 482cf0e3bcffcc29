"""`phenomae store check STORE`: whether a store is what its ingest left."""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from phenomae.artefacts import Origin
from phenomae.cores import available_cores
from phenomae.images.read import map_in_threads
from phenomae.progress import info, tracked
from phenomae.store.damage import ListedField, find_field_damage, find_group_damage
from phenomae.store.files import read_file
from phenomae.store.finish import identify
from phenomae.store.metadata import plate_attributes
from phenomae.store.read import REPORT, TABLE, Store, open_store, read_store_signature
from phenomae.store.table import parse_problems, report_problems
from phenomae.urls import Location, below, list_addresses

_SHOWN = 50
_REQUESTS = 32  # at once, of another machine: it is the way there that takes time
_NEEDED = ("plate", "well", "site", "path", "height", "width", "checksum")
# Rows, wells and images; other tools may keep tables and labels beside them.
_GROUP = re.compile(r"[^/]+\.zarr(/[A-Z]{1,2}(/[0-9]+){0,2})?")
_IMAGE = re.compile(r"([^/\\.][^/\\]*)\.zarr/([A-Z]{1,2})/([0-9]{2,})/[0-9]+")


def check(store: Location, /, *, quick: bool = False, workers: int | None = None) -> None:
    """Verify that a store is whole, and is what its ingest left.

    Its signature and identity, its table, the metadata of every plate, row, well and image, every
    pixel by its checksum, and that nothing is there that the table does not list.

    Parameters
    ----------
    store
        Folder or s3:// address of a store.
    quick
        Decode no pixel: look at metadata and at the index of every field's shard alone.
    workers
        Fields that are read at once; None takes one a core, and 32 of an s3:// address.

    Raises
    ------
    ValueError
        Where it is no finished store, or anything is wrong; all of it has been told before, a line
        each.
    """
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1, not {workers}")
    workers = workers or (available_cores() if isinstance(store, Path) else _REQUESTS)
    opened = open_store(store)
    first, count = "", 0
    for count, problem in enumerate(find_damage(opened, quick, workers), start=1):
        first = first or problem
        if count <= _SHOWN:
            info(f"damaged: {problem}")
    if count > _SHOWN:
        info(f"damaged: and {count - _SHOWN} more")
    if count:
        noun = "1 problem" if count == 1 else f"{count} problems, the first"
        raise ValueError(f"{store} is damaged: {noun}: {first}")
    plates = opened.fields["plate"].n_unique()
    print(f"{store}: {len(opened.fields)} fields of {plates} plates, all whole")


def find_damage(store: Store, quick: bool, workers: int) -> Iterator[str]:
    """Yield all that is wrong with a store, one sentence each; its table could be read."""
    yield from _find_table_damage(store)
    yield from _find_report_damage(store)
    sound = _sound_rows(store)
    bad = set(range(len(store.fields))) - set(sound)
    yield from (f"{TABLE}: row {row} cannot be of a field" for row in sorted(bad))
    groups = _expected_groups(store.fields[sound])
    for wrong in map_in_threads(
        lambda item: find_group_damage(store.path, *item), list(groups.items()), workers
    ):
        yield from wrong
    yield from _find_strangers(store, {*groups, *store.fields["path"].drop_nulls()})
    fields = [_listed(store, row) for row in sound]
    look = partial(find_field_damage, store.path, quick)
    found = map_in_threads(look, fields, workers)
    for wrong in tracked(found, "checking", len(fields), "fields"):
        yield from wrong


def _find_table_damage(store: Store) -> Iterator[str]:
    signature = read_store_signature(store.path)
    origin = Origin(signature["kind"], signature["settings"], signature["sources"])
    if identify(origin, read_file(below(store.path, TABLE))) != store.identity:
        yield f"{TABLE} and artefact.json do not belong together: one was changed, or exchanged"
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
        yield f"{REPORT} is not a table that can be read: {str(error).splitlines()[0]}"
    else:
        if not content.startswith(header):
            yield f"{REPORT} does not begin with {header.decode().strip()}"


def _sound_rows(store: Store) -> list[int]:
    """Return the rows of the table that can be of a field: whole, with a path that is its well's.

    No other path is followed: it may lead out of the store.
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


def _expected_groups(fields: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """Return the attributes of the groups of plates, rows and wells, by their paths."""
    groups: dict[str, dict[str, Any]] = {}
    for (plate,), rows in fields.group_by("plate", maintain_order=True):
        for name, attributes in plate_attributes(str(plate), rows["path"].to_list()).items():
            groups[f"{plate}.zarr/{name}".rstrip("/")] = attributes
    return groups


def _listed(store: Store, row: int) -> ListedField:
    held = store.fields.row(row, named=True)
    return ListedField(
        path=held["path"],
        channels=store.channels,
        height=held["height"],
        width=held["width"],
        dtype=store.dtype,
        pixel_size_um=store.pixel_size_um,
        windows=tuple(zip(held["window_low"], held["window_high"], strict=True)),
        checksum=held["checksum"],
    )


def _find_strangers(store: Store, listed: set[str]) -> Iterator[str]:
    """Yield the plates, rows, wells and images that are there and should not; none within one."""
    found = {name for name in _list_folders(store.path) if _GROUP.fullmatch(name)} - listed
    for name in sorted(found):
        if name.rpartition("/")[0] not in found:
            yield f"{name}: {TABLE} does not list it"


def _list_folders(location: Path | str) -> Iterator[str]:
    """Yield the folders of a store down to its images, with `/` between."""
    if isinstance(location, Path):
        for depth in range(1, 5):
            for path in location.glob("/".join(["*.zarr", *"*" * (depth - 1)])):
                if path.is_dir():
                    yield path.relative_to(location).as_posix()
        return
    for name in list_addresses(location):
        folders = name.split("/")[:-1]
        yield from ("/".join(folders[:depth]) for depth in range(1, min(len(folders), 4) + 1))
