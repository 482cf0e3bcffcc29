"""`phenomae check PATH`: verifies that an output is complete and unchanged, and what it is made of.

Outputs record the identities of their sources and not their paths, so that they may be moved. The
sources are therefore looked for by identity, in the folder of the output and in those given.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from phenomae.cores import available_cores
from phenomae.correction.saved import KIND as CORRECTION
from phenomae.correction.saved import read_chain, read_saved_identity
from phenomae.images.platemap.labels import KIND as LABELS
from phenomae.maps.read import KIND as MAP
from phenomae.maps.read import read_map, read_record_of_map
from phenomae.paths import PathLike
from phenomae.print_table import show
from phenomae.runs import KIND as RUN
from phenomae.runs import find_damaged_checkpoints
from phenomae.signatures import (
    SIGNATURE,
    find_problems,
    parse_record,
    read_signature,
    record_beside,
)
from phenomae.store.check import find_damage
from phenomae.store.read import KIND as STORE
from phenomae.store.read import LABELS as LABELS_FILE
from phenomae.store.read import open_store, read_store_signature
from phenomae.whole_files import sha256_of

_SHOWN = 3  # problems of one artefact that are printed
MISSING, INPUT = "not found here", "not checked: an input, of which a checksum is recorded"
# Roles of sources that phenomae made; "store 2" and "run NAME" begin like them.
_MADE = ("store", "labels", "run", "wells", "map", "correction", "weights", "init", "results")


@dataclass(frozen=True)
class Artefact:
    """An output that was found: its place, and what it records."""

    path: Path
    kind: str
    identity: str | None
    """None if it is unfinished, or records none."""
    sources: Mapping[str, str] = field(default_factory=dict)
    """Identities of its sources by their role: `wells`, `store`."""
    find: Callable[[], Iterator[str]] = lambda: iter(())
    """Yields what is wrong with it."""
    vouched: bool = True
    """Whether it records checksums; outputs of version 0.1 do not."""


def check(path: PathLike, /, *, among: Sequence[PathLike] = ()) -> pl.DataFrame:
    """Verify that an output is complete and unchanged, and so are the outputs it was made from.

    Every file is read in full: folders of wells, stores with every pixel, runs with weights and
    checkpoints, maps, results, saved corrections and exports. Prints one row per output; sources
    that are not found are listed as such, and so are raw data and other files of yours.

    Parameters
    ----------
    path
        Output to check: a folder or a file.
    among
        Folders in which the outputs that it was made from are looked for, beside its own folder.

    Returns
    -------
    A table with the columns output, kind, identity and state.

    Raises
    ------
    ValueError
        If there is nothing that phenomae made, or if an output is damaged.
    """
    first = Path(path)
    artefact = _open(first)
    if artefact is None:
        raise ValueError(
            f"{path} is nothing that phenomae made: expected a folder with {SIGNATURE}, a map, a "
            f"saved correction, or a file with {record_beside(first).name} beside it"
        )
    places = [first.parent, *map(Path, among)]
    known = {each.identity: each for each in _list_artefacts(places) if each.identity}
    rows = list(_walk(artefact, known, set()))
    table = pl.DataFrame(rows, ["output", "kind", "identity", "state"], orient="row")
    show(table)
    if damaged := [row for row in rows if row[3].startswith("damaged")]:
        raise ValueError(f"{damaged[0][0]} is {damaged[0][3]}")
    return table


def _walk(
    artefact: Artefact, known: Mapping[str, Artefact], seen: set[str]
) -> Iterator[tuple[str, str, str | None, str]]:
    """Yield one row for an artefact, then those of its sources."""
    yield str(artefact.path), artefact.kind, artefact.identity, _state(artefact)
    for role, identity in artefact.sources.items():
        if identity in seen:
            continue
        seen.add(identity)
        if identity in known:
            yield from _walk(known[identity], known, seen)
        elif _is_output(role, artefact):
            yield role, "source", identity, MISSING
        else:
            yield role, "input", identity, INPUT


def _is_output(role: str, artefact: Artefact) -> bool:
    """Return whether a source is something that phenomae made, and no file of the user.

    `wells` of a store, and `labels` of imported wells, are what their plate map says.
    """
    reads_raw = artefact.kind == STORE or "tables" in artefact.sources
    return not reads_raw and role.startswith((*_MADE, "baseline"))


def _state(artefact: Artefact) -> str:
    problems = list(artefact.find())
    if problems:
        more = f" and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        return f"damaged: {'; '.join(problems[:_SHOWN])}{more}"
    if artefact.identity is None:
        return "unfinished"
    return "complete" if artefact.vouched else "not known: made without checksums"


def _list_artefacts(places: Sequence[Path]) -> Iterator[Artefact]:
    """Yield the outputs that lie in some folders, without reading their files."""
    for place in places:
        if not place.is_dir():
            raise ValueError(f"among {place}: there is no such folder")
        for path in sorted(place.iterdir()):
            # Other files may lie beside outputs, also damaged ones that have nothing to do here.
            with suppress(ValueError, OSError):
                if (found := _open(path)) is not None:
                    yield found
                    if found.kind == STORE and found.identity is not None:
                        yield from _open_labels(path)


def _open(path: Path) -> Artefact | None:
    """Return the output at `path` without reading its files; None if there is none."""
    if (path / SIGNATURE).is_file():
        return _open_folder(path)
    if not path.is_file():
        return None
    if record_beside(path).is_file():  # first: an export may be .h5ad, too
        return _open_export(path)
    openers = {".h5ad": _open_map, ".npz": _open_correction}
    return openers[path.suffix](path) if path.suffix in openers else None


def _open_folder(path: Path) -> Artefact:
    signature = read_signature(path)
    if signature["kind"] == STORE and signature["identity"] is not None:
        signature = read_store_signature(path)  # a change that was stopped may have been made
    kind, files = signature["kind"], signature["files"]

    def find() -> Iterator[str]:
        if files is not None and signature["identity"] is not None:
            # A run is written to by trackers, and a store has plates that its table lists.
            names = files if kind in (STORE, RUN) else None
            yield from find_problems(path, files, names)
        if kind == RUN:
            yield from find_damaged_checkpoints(path)
        if kind == STORE and signature["identity"] is not None:
            yield from find_damage(open_store(path), False, available_cores())

    vouched = files is not None
    return Artefact(path, kind, signature["identity"], signature["sources"], find, vouched)


def _open_labels(store: Path) -> Iterator[Artefact]:
    """Yield the labels that replace those of ingest, if there are any."""
    signature = read_store_signature(store)
    if "labels" not in signature:
        return
    record, files = signature["labels"], {LABELS_FILE: signature["files"][LABELS_FILE]}

    def find() -> Iterator[str]:
        yield from find_problems(store, files, files)

    yield Artefact(store / LABELS_FILE, LABELS, record["identity"], record["sources"], find)


def _open_map(path: Path) -> Artefact | None:
    record = read_record_of_map(path)
    if record is None:
        return None

    def find() -> Iterator[str]:
        yield from _problem_of(read_map, path)

    vouched = record["content"] is not None
    return Artefact(path, MAP, record["identity"], record["sources"], find, vouched)


def _open_correction(path: Path) -> Artefact:
    identity = read_saved_identity(path)

    def find() -> Iterator[str]:
        yield from _problem_of(read_chain, path)

    return Artefact(path, CORRECTION, identity, {}, find)


def _open_export(path: Path) -> Artefact:
    beside = record_beside(path)
    record = parse_record(beside.read_bytes(), path, str(beside))

    def find() -> Iterator[str]:
        if sha256_of(path) != record["content"]:
            yield f"it has changed since phenomae wrote it (its SHA-256 is not that in {beside})"

    return Artefact(path, record["kind"], record["identity"], record["sources"], find)


def _problem_of(read: Callable[[Path], object], path: Path) -> Iterator[str]:
    try:
        read(path)
    except ValueError as error:
        yield str(error)
