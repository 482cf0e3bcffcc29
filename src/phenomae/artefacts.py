"""Outputs that are complete or absent, record what made them, and are never made twice.

A folder is filled as `NAME.partial`, with an `artefact.json` that records kind, settings and
sources, and is renamed to NAME when it is complete; then `artefact.json` also lists the files with
their SHA-256. After a stop, the same command finds the partial folder and continues in it. This is
why results of a killed command are never read as whole.
"""

import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from phenomae.locks import remove_stale_lock, writer_lock
from phenomae.progress import info
from phenomae.signatures import (
    CLAIMS,
    LOCK,
    SIGNATURE,
    Origin,
    already_there,
    list_files,
    read_signature,
    read_verified,
    require_same_work,
    sign,
    sign_complete,
)
from phenomae.whole_files import PARTIAL

# What version 0.1 wrote beside tables (.csv, .parquet) and figures, by name: it listed no files.
_OF_VERSION_1 = {"environment.txt", "log.jsonl", "config.toml", "config.json"}
_SUFFIXES_OF_VERSION_1 = {".csv", ".html", ".json", ".parquet", ".png", ".safetensors", ".svg"}
_UNLISTED = {SIGNATURE, LOCK, "raw-files.json", "in-place.arrow"}  # the last two are of stores
# Folders in an OME-Zarr plate that other programs write, and that belong to their users.
_ADDED_TO_PLATES = {"labels", "tables"}

# safetensors writes into a file of its own, which it renames to the one that it was given.
_OF_SAFETENSORS = re.compile(r"\.tmp\w{6}")
# Fields of a store are folders. Other folders of such names are not ours.
_OF_ARRAYS = re.compile(rf"0\.[0-9a-f]{{8}}{re.escape(PARTIAL)}")


@contextmanager
def artefact_folder(
    path: Path, origin: Origin, overwrite: bool = False, resume: bool = True
) -> Iterator[Path | None]:
    """Yield the folder to fill for the artefact `path`, or None if it is already complete.

    The folder is `path` + `.partial`; whatever an earlier, stopped call left in it is still there.
    If the block succeeds, the folder is signed and renamed to `path`. The block may write the
    signature itself (`sign`) if the identity depends on more than the files. If it raises, the
    folder is removed, unless `resume` and it holds work that the same call can continue.

    Raises ValueError if `path` or its partial folder was made with other settings and `overwrite`
    is false, if `path` is damaged, was not made by phenomae or has no name (`.`), if it lies in
    another artefact, or if another process is writing it.
    """
    # Once, at the start: a link that is changed meanwhile does not lead elsewhere.
    path = path.resolve() if path.is_symlink() else path
    check_place(path)
    if is_done(path, origin, overwrite):
        yield None
        return
    created = missing_parents(path)
    partial = path.with_name(path.name + PARTIAL)
    try:
        with writer_lock(partial, path.name) as require_held:
            # Another call may have finished the same work just before the lock was free.
            done = is_done(path, origin, overwrite)
            if not done:
                begin(partial, origin, overwrite)
            try:
                yield None if done else partial
            except BaseException:
                if not (resume and has_content(partial)):
                    shutil.rmtree(partial)
                raise
            if done:
                shutil.rmtree(partial)
                return
            require_held()
            complete(partial, path, origin)
    finally:
        remove_empty(created)


def complete(partial: Path, path: Path, origin: Origin) -> None:
    """Sign the folder that was filled, unless the caller has, and rename it to `path`."""
    if read_signature(partial).get("identity") is None:
        sign_complete(partial, origin)
    _replace_folder(partial, path)


def check_place(path: Path) -> None:
    """Raise ValueError if `path` cannot be made or replaced, as `artefact_folder` does."""
    if not path.name:
        raise ValueError(f"{path} cannot be replaced: name a folder to create")
    if path.exists() and not (path / SIGNATURE).exists():
        raise ValueError(f"{path} is there and was not made by phenomae: choose another name")
    refuse_inside(path)


def refuse_inside(path: Path) -> None:
    """Raise ValueError if an output would lie inside another artefact."""
    for parent in path.absolute().parents:
        if (parent / SIGNATURE).is_file():
            raise ValueError(
                f"{path} is inside {parent}, which phenomae made and which may contain only its "
                "own files: choose a place outside"
            )


def is_done(path: Path, origin: Origin, overwrite: bool) -> bool:
    """Return whether the artefact is complete; raises ValueError as `artefact_folder` does."""
    if not path.exists():
        return False
    if overwrite:
        read_signature(path, origin.kind)  # refuses to replace an artefact of another kind
        return False
    require_same_work(path, read_signature(path), origin)
    signature = read_verified(path)
    remove_replaced(path)
    remove_stale_lock(path)
    info(already_there(path, signature))
    return True


def missing_parents(path: Path) -> list[Path]:
    """Return the parent folders that are to be created, the innermost first."""
    return [parent for parent in path.absolute().parents if not parent.exists()]


def remove_empty(folders: Iterable[Path]) -> None:
    """Remove folders that were created for nothing, the innermost first."""
    for folder in folders:
        if folder.is_dir() and not any(folder.iterdir()):
            with suppress(OSError):  # another process has just put something into it
                folder.rmdir()


def has_content(partial: Path) -> bool:
    """Return whether a partial folder holds files of the artefact."""
    return any(Path(name).name not in _UNLISTED for name in list_files(partial))


def begin(partial: Path, origin: Origin, overwrite: bool) -> None:
    """Sign a new partial folder, or find the work that a stopped call began for the same origin.

    The caller holds the lock, so that partial files are of calls that were killed.
    """
    if (partial / SIGNATURE).exists():
        try:
            require_same_work(partial, read_signature(partial), origin)
        except ValueError:
            # A call that stopped before it wrote anything (on a wrong setting) lost no work.
            if is_begun(partial) and not overwrite:
                raise
        else:
            remove_partial_files(partial)
            for claims in partial.glob(f"{CLAIMS}*"):  # of shards that were killed
                shutil.rmtree(claims, ignore_errors=True)
            return
    elif is_begun(partial):
        raise ValueError(f"{partial} is in the way and was not made by phenomae: move it")
    _empty(partial)
    sign(partial, origin, identity=None, files={})


def remove_partial_files(folder: Path) -> None:
    """Remove what killed calls left half-written: files, and arrays; the caller holds the lock."""
    for place, folders, files in os.walk(folder):
        for name in [name for name in folders if _OF_ARRAYS.fullmatch(name)]:
            folders.remove(name)
            shutil.rmtree(Path(place, name), ignore_errors=True)
        for name in files:
            if name.endswith(PARTIAL) or _OF_SAFETENSORS.fullmatch(name):
                Path(place, name).unlink(missing_ok=True)


def _empty(partial: Path) -> None:
    """Remove everything in a partial folder but the lock, which is held; the signature last."""
    for item in sorted(partial.iterdir(), key=lambda item: item.name == SIGNATURE):
        if item.is_dir() and not item.is_symlink():
            shutil.rmtree(item)
        elif item.name != LOCK:
            item.unlink()


def is_begun(folder: Path) -> bool:
    """Return whether a folder holds more than what a stop in its first moment leaves."""
    if not folder.exists():
        return False
    first = (SIGNATURE, LOCK, CLAIMS)
    return any(not path.name.startswith(first) for path in folder.iterdir())


def set_aside(path: Path) -> None:
    """Rename an artefact to NAME.replaced, where it is kept until its successor is complete."""
    remove_replaced(path)
    os.replace(path, _replaced(path))


def remove_replaced(path: Path) -> None:
    """Remove the artefact that `path` has replaced, if it is still there.

    Files that are not its own are moved into `path` first.
    """
    old = _replaced(path)
    if not old.is_dir():
        return
    if any(old.iterdir()):
        signature = read_signature(old)  # raises, so that no folder of another program is removed
        _move_foreign(old, signature, path)
    remove_artefact(old)


def _move_foreign(old: Path, signature: Mapping[str, Any], new: Path) -> None:
    """Move the files that an artefact does not list into the one that replaces it."""
    is_own = _own_files(signature)
    for item in sorted(old.rglob("*")):
        name = item.relative_to(old)
        if (item.is_file() or item.is_symlink()) and not is_own(name):
            place = new / name
            if place.exists():
                place = place.with_name(place.name + ".kept")
            place.parent.mkdir(parents=True, exist_ok=True)
            os.replace(item, place)
            info(f"kept {place}, which is not a file of the artefact that was replaced")


def _own_files(signature: Mapping[str, Any]) -> Callable[[Path], bool]:
    """Return a function that tells whether a file, by its path in the artefact, is its own."""
    listed = signature["files"]
    finished = signature["identity"] is not None

    def is_own(name: Path) -> bool:
        if name.name in _UNLISTED or name.name.endswith(PARTIAL) or not finished:
            return True
        if name.parts[0].endswith(".zarr"):
            return _ADDED_TO_PLATES.isdisjoint(name.parts)
        if name.parts[0] == "checkpoints":  # of a run; each has its own checksum
            return name.suffix == ".safetensors"
        if listed is None:
            return name.suffix in _SUFFIXES_OF_VERSION_1 or name.name in _OF_VERSION_1
        return name.as_posix() in listed

    return is_own


def remove_artefact(folder: Path) -> None:
    """Remove a folder, its signature last, so that it stays recognisable if this is stopped."""
    for item in sorted(folder.iterdir()):
        if item.is_dir() and not item.is_symlink():
            shutil.rmtree(item)
        elif item.name != SIGNATURE:
            item.unlink()
    (folder / SIGNATURE).unlink(missing_ok=True)
    folder.rmdir()


def _replaced(path: Path) -> Path:
    # Not `.old`, a name that people give to artefacts they want to keep.
    return path.with_name(path.name + ".replaced")


def _replace_folder(partial: Path, path: Path) -> None:
    """Rename `partial` to `path`; a stop in between loses neither."""
    if path.exists():
        set_aside(path)
    os.replace(partial, path)
    remove_replaced(path)
