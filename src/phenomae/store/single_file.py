"""`phenomae store export STORE PLATE OUT.ozx`: a plate as one file, a zipped OME-Zarr.

The file follows RFC-9 of OME-NGFF: the plate's group is the root of the archive, nothing is
compressed again, and all `zarr.json` come first, so that a reader finds them with few requests.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

import polars as pl

from phenomae.artefacts import refuse_inside
from phenomae.cores import available_cores
from phenomae.outputs import Output
from phenomae.paths import PathLike
from phenomae.progress import info, tracked
from phenomae.signatures import Origin, parse_record, record_beside, record_of
from phenomae.store.check import expected_groups, find_listed_damage
from phenomae.store.damage import find_group_damage
from phenomae.store.files import read_file
from phenomae.store.metadata import VERSION
from phenomae.store.read import Store, open_store
from phenomae.urls import Location, below
from phenomae.whole_files import remove_abandoned, sha256_of, whole_file, write_json

KIND = "export"
SUFFIX = ".ozx"
SHARD = "c/0/0/0"  # the only shard of a field's array
_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest of a ZIP file: the same plate gives the same bytes
# What the RFC asks for: the version of OME-Zarr, and that all zarr.json come first.
_COMMENT = {"ome": {"version": VERSION, "zipFile": {"centralDirectory": {"jsonFirst": True}}}}


class PlateFile(Output):
    """A plate as one zipped OME-Zarr file, which `store export` wrote."""


def export_plate(
    store: Location, plate: str, out: PathLike, /, *, overwrite: bool = False
) -> PlateFile:
    """Write a plate of a store as one file: a zipped OME-Zarr (.ozx, RFC-9 of OME-NGFF).

    Metadata and pixels are those of the store, verified before they are written, and shards are
    copied as they are. What other programs have added to the plate (labels, tables) is left out.

    Parameters
    ----------
    store
        Folder or s3:// address of a store.
    plate
        Name of the plate.
    out
        File to write; its name ends with .ozx. What it was made from and its checksum are written
        beside it, to `OUT.artefact.json`.
    overwrite
        Replace `out` if it holds another plate.

    Raises
    ------
    ValueError
        If there is no finished store, it has no such plate or the plate is damaged, `out` has
        another suffix, or `out` holds something else.
    """
    out = Path(out)
    if out.suffix != SUFFIX:
        raise ValueError(f"{out} cannot be the plate: give it a name that ends with {SUFFIX}")
    refuse_inside(out)
    opened = _only_plate(open_store(store), plate)
    origin = Origin(KIND, {"plate": plate}, {"store": opened.identity})
    if _is_done(out, origin, overwrite):
        return PlateFile(out)
    _require_sound(opened)
    out.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(out)
    with whole_file(out, replace=overwrite) as partial:
        with open(partial, "wb") as file:
            _write_zip(file, opened, plate)
        # Before the file is put in place, so that a file is never without its record.
        write_json(record_beside(out), record_of(origin, sha256_of(partial)))
    return PlateFile(out)


def _only_plate(store: Store, plate: str) -> Store:
    """Return the store with the fields of one plate; raises ValueError if it has no such plate."""
    fields = store.fields.filter(pl.col("plate") == plate)
    if not len(fields):
        plates = store.fields["plate"].unique(maintain_order=True).to_list()
        listed = ", ".join(plates[:5]) + (", ..." if len(plates) > 5 else "")
        raise ValueError(f"{store.path} has no plate {plate!r}: it has {listed}")
    return replace(store, fields=fields)


def _is_done(out: Path, origin: Origin, overwrite: bool) -> bool:
    """Return whether `out` has this plate already; raises ValueError if it holds something else."""
    if not out.exists():
        return False
    record = _read_record(out)
    if record is None:
        # What a call that was killed while it replaced a plate leaves is replaced where asked.
        if overwrite and _is_plate(out):
            return False
        raise ValueError(
            f"{out} is there, and not as store export wrote it: choose another name, or delete it"
        )
    same = (record["settings"], record["sources"]) == (origin.settings, origin.sources)
    if same:
        info(f"{out} is already there, with the same plate")
    elif not overwrite:
        raise ValueError(f"{out} holds another plate: choose another name, or overwrite it")
    return same


def _read_record(out: Path) -> dict[str, Any] | None:
    """Return the record beside a file; None if there is none, or it is of another file."""
    beside = record_beside(out)
    if not (out.is_file() and beside.is_file()):
        return None
    try:
        record = parse_record(beside.read_bytes(), out, str(beside), KIND)
    except ValueError:
        return None
    return record if record["content"] == sha256_of(out) else None


def _is_plate(out: Path) -> bool:
    """Return whether a file is a zipped plate that phenomae ingested."""
    try:
        with ZipFile(out) as archive:
            return "phenomae" in json.loads(archive.read("zarr.json"))["attributes"]
    except (BadZipFile, OSError, KeyError, TypeError, ValueError):
        return False


def _require_sound(store: Store) -> None:
    """Raise ValueError if metadata or pixels of the plate are not those that ingest wrote."""
    for group, attributes in expected_groups(store.fields).items():
        for problem in find_group_damage(store.path, group, attributes):
            raise ValueError(f"{store.path} is damaged: {problem}")
    rows = range(len(store.fields))
    for problem in find_listed_damage(store, rows, False, available_cores()):
        raise ValueError(f"{store.path} is damaged: {problem}")


def _list_documents(store: Store, plate: str) -> list[str]:
    """Return the paths of all zarr.json in the plate, breadth first, that of the plate first."""
    root = f"{plate}.zarr"
    groups = [group.removeprefix(root).strip("/") for group in expected_groups(store.fields)]
    images = [path.removeprefix(f"{root}/") for path in store.fields["path"]]
    nodes = {*groups, *images, *(f"{image}/0" for image in images)}
    ordered = sorted(nodes, key=lambda node: (len(node.split("/")) if node else 0, node))
    return [f"{node}/zarr.json".lstrip("/") for node in ordered]


def _write_zip(file: BinaryIO, store: Store, plate: str) -> None:
    folder = below(store.path, f"{plate}.zarr")
    images = [path.removeprefix(f"{plate}.zarr/") for path in store.fields["path"]]
    shards = [f"{image}/0/{SHARD}" for image in images]
    # ZipFile changes to ZIP64 by itself where sizes or the number of files need it.
    with ZipFile(file, "w", ZIP_STORED) as archive:
        for name in _list_documents(store, plate):
            archive.writestr(_entry(name), read_file(below(folder, name)))
        for name in _tracked(shards):
            archive.writestr(_entry(name), read_file(below(folder, name)))
        archive.comment = json.dumps(_COMMENT).encode()


def _tracked(names: list[str]) -> Iterator[str]:
    return tracked(names, "writing", len(names), "fields")


def _entry(name: str) -> ZipInfo:
    entry = ZipInfo(name, _DATE)
    entry.external_attr = 0o644 << 16  # rights of the file where it is unzipped
    return entry
