"""Writes the plates of a plan into a folder, and what makes a store of it."""

import io
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from phenomae.artefacts import Origin, hash_bytes, hash_json, sign
from phenomae.images.fields import Problem, raise_problems
from phenomae.progress import track
from phenomae.store.files import read_file, remove_folder, write_file
from phenomae.store.inventory import IngestSettings, Inventory, refuse_problems
from phenomae.store.plate import write_plate
from phenomae.store.read import REPORT, TABLE
from phenomae.store.remote import sign_remote
from phenomae.store.table import report_problems, write_table
from phenomae.urls import below
from phenomae.workers import start_workers

_ROWS = "rows"  # of plates that are done, in a store that is not
_WORTH_PROCESSES = 256e6  # bytes of images; below it they take longer to start than they save


def write_plates(
    folder: Path | str, raw: Path, inventory: Inventory, settings: IngestSettings
) -> tuple[pl.DataFrame, list[Problem]]:
    """Write all plates of a plan that are not there yet.

    Returns the finished table of their fields, and what is wrong with those that are left out, as
    they could not be decoded. Raises ValueError for these where they may not be skipped. The rows
    of a plate without any are kept until all plates are done, so that none of its pixels is looked
    at again after a stop.
    """
    tables: list[pl.DataFrame] = []
    problems: list[Problem] = []
    total = len(inventory.screen.fields)
    kept = below(folder, _ROWS)
    with start_crew(inventory) as crew, track("ingesting", total, "fields") as advance:
        for plate in inventory.screen.plate_names:
            rows = _read_rows(below(kept, f"{plate}.parquet"))
            if rows is None:
                rows, wrong = write_plate(folder, plate, inventory, settings, crew, advance)
                if not wrong:
                    write_table(below(kept, f"{plate}.parquet"), rows)
                problems += wrong
            else:
                advance(len(rows))
            tables.append(rows)
    refuse_problems(raw, problems, settings)
    remove_folder(kept)
    table = pl.concat(tables)
    if table.is_empty():
        raise_problems(raw, problems)
    return table, problems


def _read_rows(location: Path | str) -> pl.DataFrame | None:
    try:
        return pl.read_parquet(io.BytesIO(read_file(location)))
    except (FileNotFoundError, pl.exceptions.PolarsError):
        return None


def finish_store(
    folder: Path | str, table: pl.DataFrame, problems: list[Problem], origin: Origin
) -> str:
    """Write the table and the report, and sign; returns the store's identity."""
    write_table(below(folder, TABLE), table)
    write_file(below(folder, REPORT), report_problems(problems))
    identity = identify(origin, read_file(below(folder, TABLE)))
    if isinstance(folder, Path):
        sign(folder, origin, identity)
    else:
        sign_remote(folder, origin, identity)
    return identity


def identify(origin: Origin, table: bytes) -> str:
    """Return a store's identity: a hash over its making and its table, so over every pixel."""
    return hash_json([origin.identity, hash_bytes(table)])


@contextmanager
def start_crew(inventory: Inventory) -> Iterator[Executor]:
    """Give processes to share the work with, or threads where there is little of it."""
    if (
        inventory.workers > 1
        and sum(sum(header.bytes) for header in inventory.headers) > _WORTH_PROCESSES
    ):
        with start_workers(inventory.workers) as pool:
            yield pool
    else:
        with ThreadPoolExecutor(inventory.workers) as pool:
            yield pool
