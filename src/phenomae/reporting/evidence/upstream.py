"""Finds what the inputs of a report were made from: wells, runs and stores that lie beside them.

Outputs record the identities of their sources and not their paths, so the sources are looked for by
identity, in the folders of the inputs and in those given.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phenomae.maps.read import read_record_of_map
from phenomae.signatures import SIGNATURE, read_signature

_STORE = "store"
_ROLES = ("map", "wells", "run", _STORE)  # other sources are hashes of lists and tables
_COMMANDS = {("run", _STORE): "embed", (_STORE,): "features", ("wells",): "correct"}
Record = Mapping[str, Any]
"""The signature of an output, or the record that a map holds."""


@dataclass(frozen=True)
class Source:
    """An output that an input of the report was made from."""

    role: str
    """What it is to the output made from it, and for wells the command that made them."""
    identity: str
    record: Record | None
    """None if it was not found."""
    data: Mapping[str, str]
    """Of a store: its plates, wells, fields, channels and pixels."""
    path: Path | None = None
    """Where it was found; it is not on the page."""


def find_upstream(records: Sequence[Record], places: Sequence[Path]) -> list[Source]:
    """Return the sources of outputs and the sources of these in turn, each once.

    `records` are those of the outputs. Raises ValueError if a place is no folder, or the table of a
    store is damaged.
    """
    known = dict(_list_outputs(places))
    seen = {record["identity"] for record in records}
    return [source for record in records for source in _walk(record, known, seen)]


def _walk(
    record: Record, known: Mapping[str, tuple[Path, Record]], seen: set[str]
) -> Iterator[Source]:
    """Yield the sources of an output, each before its own sources."""
    for role, identity in record["sources"].items():
        # The sources of a store are hashes of raw files and of a plate map.
        if record["kind"] == _STORE or role not in _ROLES or identity in seen:
            continue
        seen.add(identity)
        path, found = known.get(identity, (None, None))
        data = _describe_store(path) if path is not None and role == _STORE else {}
        yield Source(_name(role, found), identity, found, data, path)
        if found is not None:
            yield from _walk(found, known, seen)


def _list_outputs(places: Sequence[Path]) -> Iterator[tuple[str, tuple[Path, Record]]]:
    """Yield identity, path and record of the outputs that lie in some folders."""
    for place in places:
        if not place.is_dir():
            raise ValueError(f"among {place}: there is no such folder")
        for path in sorted(place.iterdir()):
            # Other files may lie beside outputs, also damaged ones that have nothing to do here.
            with suppress(ValueError, OSError):
                if (record := _read_record(path)) is not None and record["identity"]:
                    yield record["identity"], (path, record)


def _read_record(path: Path) -> Record | None:
    if (path / SIGNATURE).is_file():
        return read_signature(path)
    is_map = path.suffix == ".h5ad" and path.is_file()
    return read_record_of_map(path) if is_map else None


def _name(role: str, record: Record | None) -> str:
    """Return `wells (correct)` for the wells that `correct` wrote, for example."""
    if role != "wells" or record is None:
        return role
    sources = tuple(sorted(set(record["sources"]) & set(_ROLES)))
    return f"wells ({_COMMANDS[sources]})" if sources in _COMMANDS else role


def _describe_store(path: Path) -> dict[str, str]:
    from phenomae.store.read import open_store  # imports tensorstore

    store = open_store(path)
    size = "" if store.pixel_size_um is None else f", {store.pixel_size_um:g} µm"
    return {
        "plates": f"{store.fields['plate'].n_unique():,}",
        "wells": f"{store.fields.select('plate', 'well').n_unique():,}",
        "fields": f"{len(store.fields):,}",
        "channels": ", ".join(store.channels),
        "pixels": f"{store.dtype}{size}",
    }
