"""Writes plates, and then the table, report and signature of a store.

`ingest` with and without `--add` shares these functions.
"""

import hashlib
import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from phenomae.images.fields import Problem, raise_problems
from phenomae.locks import writer_lock
from phenomae.progress import Advance, track
from phenomae.shared_artefacts import SharedFolder, deal_units
from phenomae.signatures import SIGNATURE, Origin, parse_signature, signature_of
from phenomae.store.files import read_file, write_file
from phenomae.store.inventory import Inventory, refuse_problems
from phenomae.store.measures import Measures, read_measures, tabulate_measures
from phenomae.store.part_rows import part_units, read_part, remove_rows, save_part
from phenomae.store.parts import Part, cut_plates
from phenomae.store.plate import finish_plate, write_fields, write_plate
from phenomae.store.raw_files import begin_plates, hash_times
from phenomae.store.read import LABELS, REPORT, TABLE, settle
from phenomae.store.refer import refer
from phenomae.store.table import encode_table, report_problems
from phenomae.urls import below
from phenomae.whole_files import PARTIAL, hash_bytes, hash_json
from phenomae.workers import start_workers

# Bytes of image files below which starting processes (0.7 s each) takes longer than they save.
_WORTH_PROCESSES = 256e6


def write_plates(folder: Path | str, inventory: Inventory) -> tuple[pl.DataFrame, list[Problem]]:
    """Write all plates of an inventory, except those that an interrupted call has finished.

    Returns the table of fields and the problems of the fields that cannot be decoded, which are
    left out. Raises ValueError if there are such fields and `on_bad` is not `skip`, or if no field
    is left.
    """
    begin_plates(folder, cut_plates(inventory), inventory, hash_times(inventory))
    write_parts(folder, inventory)
    found = gather_plates(folder, inventory)
    remove_rows(folder)
    return found


def write_parts(
    folder: Path | str, inventory: Inventory, shared: SharedFolder | None = None
) -> list[Problem]:
    """Write the parts of all plates that are not written yet, and that no other shard writes.

    `folder` was prepared by `begin_plates`. Returns the problems of the fields that this process
    could not decode.
    """
    plates = cut_plates(inventory)
    units = part_units(plates)
    parts = {part.name: part for some in plates.values() for part in some}
    missing = [name for name in parts if not units.is_written(folder, name)]
    total = len(inventory.raw.fields)
    left = sum(len(parts[name].fields) for name in missing)
    problems: list[Problem] = []
    with (
        start_crew(inventory) as crew,
        track("ingesting", total, "fields", total - left) as advance,
        closing(_deal(missing, shared)) as dealt,
    ):
        for name, is_own in dealt:
            part = parts[name]
            if not is_own:  # another shard has written it
                advance(len(part.fields))
                continue
            rows, wrong = _write_part(folder, part, plates[part.plate], inventory, crew, advance)
            save_part(folder, part, rows, wrong)
            problems += wrong
    return problems


def _deal(
    missing: Sequence[str], shared: SharedFolder | None
) -> Generator[tuple[str, bool], None, None]:
    """Yield names of parts, and whether this process is to write them."""
    if shared is None:
        yield from ((name, True) for name in missing)
        return
    with closing(deal_units([shared])) as dealt:
        for name, lacking in dealt:
            yield name, bool(lacking)


def _write_part(
    folder: Path | str,
    part: Part,
    of_plate: Sequence[Part],
    inventory: Inventory,
    crew: Executor,
    advance: Advance,
) -> tuple[pl.DataFrame, list[Problem]]:
    """Write a part of a plate; return its rows to save and its problems."""
    if not part.is_whole:
        measured, problems = write_fields(folder, part, inventory, crew, advance)
        return tabulate_measures(measured), problems
    if len(of_plate) == 1:
        return write_plate(folder, part.plate, inventory, crew, advance)
    measured: list[Measures] = []
    for other in of_plate[:-1]:
        found = read_part(folder, other)
        assert found is not None, other
        measured += read_measures(found[0])
    return finish_plate(folder, part.plate, inventory, measured), []


def gather_plates(folder: Path | str, inventory: Inventory) -> tuple[pl.DataFrame, list[Problem]]:
    """Return the table of fields of all plates, which are written, and the problems.

    Writes the references of a store in place. Raises ValueError if there are problems and `on_bad`
    is not `skip`, or if no field is left.
    """
    tables: list[pl.DataFrame] = []
    problems: list[Problem] = []
    for parts in cut_plates(inventory).values():
        for part in parts:
            found = read_part(folder, part)
            if found is None:  # ranges of a plate that an older version did not cut
                assert not part.is_whole, part
                continue
            rows, wrong = found
            problems += wrong
            if part.is_whole:
                tables.append(rows)
    refuse_problems(inventory, problems)
    table = pl.concat(tables)
    if table.is_empty():
        raise_problems(inventory.path, problems)
    if inventory.settings.in_place:
        refer(folder, inventory, table)
    return table, problems


def finish_store(
    folder: Path | str, table: pl.DataFrame, problems: list[Problem], origin: Origin
) -> str:
    """Write the report and the table, then sign the store; return the store's identity.

    A store that is extended is the old one until its table is replaced, and then the new one. It
    keeps the labels that `store relabel` gave.
    """
    contents = {REPORT: report_problems(problems), TABLE: encode_table(table)}
    identity = identify(origin, contents[TABLE])
    before = parse_signature(read_file(below(folder, SIGNATURE)), folder)
    # The table has a checksum of every field, so that the files of plates need not be listed.
    replace_files(folder, before, contents, origin, identity)
    return identity


def replace_files(
    folder: Path | str,
    before: dict[str, Any],
    contents: Mapping[str, bytes],
    origin: Origin,
    identity: str,
    labels: Mapping[str, Any] | None = None,
) -> None:
    """Write the files `contents` of a store, then sign it; `before` is its signature till now.

    A finished store is the old one until the last file is written, and then the new one. Labels
    that `store relabel` gave are kept if no `labels` are given.
    """
    files = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    if before["identity"] is not None:
        before = settle(folder, before)
        before["files"] = before["files"] or _hash_listed(folder)  # none of version 0.1
        files = {**before["files"], **files}
        labels = labels or before.get("labels")
    more = {} if labels is None else {"labels": dict(labels)}
    after = signature_of(origin, identity, files, **more)
    if before["identity"] is not None:
        _sign_both(folder, before, after)
    for name, content in contents.items():
        write_file(below(folder, name), content)
    write_file(below(folder, SIGNATURE), after)


def _hash_listed(folder: Path | str) -> dict[str, str]:
    """Return the SHA-256 of the files that a store's signature lists."""
    contents = {name: read_file(below(folder, name)) for name in (TABLE, REPORT)}
    return {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}


def _sign_both(folder: Path | str, old: dict[str, Any], new: bytes) -> None:
    """Sign a store such that its tables decide whether it is the old one or the new one."""
    origin = Origin(old["kind"], old["settings"], old["sources"])
    more = {name: old[name] for name in ("labels",) if name in old}
    content = signature_of(origin, old["identity"], old["files"], **more, successor=json.loads(new))
    write_file(below(folder, SIGNATURE), content)


def identify(origin: Origin, table: bytes) -> str:
    """Return a store's identity: a hash of its origin and of the bytes of `fields.parquet`.

    The table has a checksum of every field's pixels, so the identity covers every pixel.
    """
    return hash_json([origin.identity, hash_bytes(table)])


@contextmanager
def changing(store: Path | str) -> Iterator[None]:
    """Let one call at a time change the tables of a finished store; S3 has no locks for this."""
    if isinstance(store, str):
        yield
        return
    with writer_lock(store.with_name(store.name + ".changed"), store.name):
        for name in (SIGNATURE, TABLE, REPORT, LABELS):
            for partial in store.glob(f"{name}.*{PARTIAL}"):  # of calls that were killed
                partial.unlink()
        yield


@contextmanager
def start_crew(inventory: Inventory) -> Iterator[Executor]:
    """Yield a pool of processes, or of threads for one worker or at most 256 MB of images."""
    if (
        inventory.workers > 1
        and sum(sum(header.bytes) for header in inventory.headers) > _WORTH_PROCESSES
    ):
        with start_workers(inventory.workers) as pool:
            yield pool
    else:
        with ThreadPoolExecutor(inventory.workers) as pool:
            yield pool
