"""Outputs that several processes make together: the shards of one command, on one or more machines.

The folder that they fill says what is done. A shard claims a unit of work (a plate), writes it
whole and goes on to the next; a crash frees what was claimed. Who finds all written, and nobody
else at work, signs. So any number of shards, killed and started at will, gives the bytes of one
process.
"""

import shutil
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from phenomae.artefacts import (
    artefact_folder,
    begin,
    check_place,
    complete,
    has_content,
    is_done,
    missing_parents,
    remove_empty,
    remove_partial_files,
)
from phenomae.locks import BeingWrittenError, is_locked
from phenomae.progress import info
from phenomae.shards import Shard, require_shared_disk
from phenomae.shared_locks import (
    SharedLock,
    claim,
    did_any_fail,
    join_shards,
    list_claims,
    note_presence,
)
from phenomae.signatures import (
    CLAIMS,
    SIGNATURE,
    Origin,
    already_there,
    read_signature,
    read_verified,
    require_same_work,
    sign_complete,
)
from phenomae.whole_files import PARTIAL, write_bytes

_LOOK_EVERY_S = 20.0  # for units that other shards have written
_BEGINS_S = 3.0


@dataclass(frozen=True)
class Units:
    """The parts of the work on an artefact that are each done by one process, like plates."""

    names: Sequence[str]
    """Names that can be file names."""
    is_written: Callable[[Any, str], bool]
    """Returns whether a folder holds what is written last of a unit."""
    noun: str = "plate"
    after: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Units that must be written before another one is begun; none for most."""


@dataclass(frozen=True, eq=False)
class SharedFolder:
    """A folder that is filled unit by unit, by one process or by several shards."""

    folder: Path
    units: Units
    lock: SharedLock | None
    """None: this process fills the folder alone."""
    shard: Shard | None
    _empty: set[str] = field(default_factory=set)

    def lacks(self, unit: str) -> bool:
        """Return whether a unit is still to be done."""
        if self.units.is_written(self.folder, unit) or unit in self._empty:
            return False
        return self.lock is None or not self._mark(unit).exists()

    def is_ready(self, unit: str) -> bool:
        """Return whether the units that must be written before a unit are written."""
        return not any(map(self.lacks, self.units.after.get(unit, ())))

    def mark_done(self, unit: str) -> None:
        """Remember that a unit was done of which there is nothing to write."""
        if not self.lacks(unit):
            return
        self._empty.add(unit)
        if self.lock is not None:
            self._mark(unit).parent.mkdir(exist_ok=True)
            write_bytes(self._mark(unit), b"")

    def _mark(self, unit: str) -> Path:
        return self.folder / CLAIMS / "empty" / unit

    @contextmanager
    def claim(self, unit: str) -> Iterator[bool]:
        """Yield whether no other shard does a unit; then none does until the block ends."""
        if self.lock is None:
            yield True
            return
        with claim(self.lock, unit) as is_free:
            yield is_free


def deal_units(
    folders: Sequence[SharedFolder],
) -> Generator[tuple[str, Sequence[SharedFolder]], None, None]:
    """Yield each unit of work with the folders that lack it, in which it is to be written.

    One at a time: a unit is this process's until the next one is asked for. Units that other shards
    have written meanwhile are yielded without folders. Ends if nothing is left that nobody does.
    Close the generator (`contextlib.closing`), or an error would keep its claim.
    """
    shard, names = folders[0].shard, folders[0].units.names
    units = shard.order(names) if shard else list(names)
    others = {unit for unit in units if any(folder.lacks(unit) for folder in folders)}
    looked, goes_on = time.monotonic(), True
    while goes_on:
        goes_on = False
        for unit in units:
            with ExitStack() as claims:
                if lacking := _claim(folders, unit, claims):
                    yield unit, lacking
                    for folder in lacking:
                        folder.mark_done(unit)
                    others.discard(unit)
                    goes_on = shard is not None
            if shard and time.monotonic() - looked > _LOOK_EVERY_S:
                yield from _notice(folders, others)
                looked = time.monotonic()
    yield from _notice(folders, others)


def _claim(folders: Sequence[SharedFolder], unit: str, claims: ExitStack) -> list[SharedFolder]:
    """Return the folders that lack a unit, in which it was claimed: all of them, or none."""
    lacking = [folder for folder in folders if folder.lacks(unit)]
    if not all(folder.is_ready(unit) for folder in lacking):
        return []
    if not all(claims.enter_context(folder.claim(unit)) for folder in lacking):
        return []
    # Again: another shard may have written it just before it was claimed here.
    return [folder for folder in lacking if folder.lacks(unit)]


def _notice(
    folders: Sequence[SharedFolder], others: set[str]
) -> Iterator[tuple[str, Sequence[SharedFolder]]]:
    for unit in sorted(others):
        if not any(folder.lacks(unit) for folder in folders):
            others.discard(unit)
            yield unit, ()


@contextmanager
def shared_folder(
    path: Path,
    origin: Origin,
    units: Units,
    shard: Shard | None = None,
    overwrite: bool = False,
    prepare: Callable[[Path], None] = lambda folder: None,
    finish: Callable[[Path], None] = lambda folder: None,
    is_current: Callable[[Path], bool] = lambda path: True,
) -> Iterator[SharedFolder | None]:
    """Yield the folder to fill for the artefact `path`, or None if there is nothing left to do.

    Without `shard` it is that of `artefact_folder`. Shards of the same work fill it together, and
    the last one signs and renames it; one that ends while others write prints how many units are
    left. `prepare` is called with the folder before anybody writes to it, and `finish` when all
    units are done, before it is signed. With `overwrite`, shards keep an artefact of the same
    origin and version that is undamaged and `is_current`: they cannot tell it from what the others
    have just finished.

    Raises ValueError as `artefact_folder` does, if shards disagree on how many they are, if a call
    that is no shard writes the folder, or if it is on a disk that the other nodes cannot see.
    """
    if shard is None:
        with artefact_folder(path, origin, overwrite) as folder:
            if folder:
                prepare(folder)
            yield folder and SharedFolder(folder, units, None, None)
            if folder:
                finish(folder)
        return
    path = path.resolve() if path.is_symlink() else path
    check_place(path)
    require_shared_disk(path)
    created = missing_parents(path)
    try:
        lock = _join(path, origin, shard, overwrite, prepare, is_current)
        if lock is None:
            yield None
            return
        folder = SharedFolder(lock.folder, units, lock, shard)
        try:
            with note_presence(lock):
                yield folder
            _leave(folder, lock, path, origin, finish)
        except BaseException as error:
            _stop(lock, path, error)
            raise
        finally:
            lock.close(path, path.with_name(f"{path.name}.replaced"))
    finally:
        remove_empty(created)


def is_finished(path: Path, origin: Origin) -> bool:
    """Return whether the artefact of this origin is there, signed by this shard or another."""
    try:
        require_same_work(path, read_signature(path), origin)
    except ValueError:
        return False
    return True


def _join(
    path: Path,
    origin: Origin,
    shard: Shard,
    overwrite: bool,
    prepare: Callable[[Path], None],
    is_current: Callable[[Path], bool],
) -> SharedLock | None:
    """Return the lock of the folder to fill, or None if there is nothing left to do."""
    partial = path.with_name(path.name + PARTIAL)
    while not _is_done(path, origin, overwrite, is_current):
        lock = join_shards(partial, path.name, shard.count)
        if lock is None:
            _require_same_signed(path, partial, origin)
            info(f"all of {path} is written, and another shard signs it")
            return None
        try:
            if not lock.is_alone:
                _require_same_shards(lock, path, origin)
                return lock
            # Others may have finished the same work just before the lock was free.
            if _is_done(path, origin, overwrite, is_current):
                shutil.rmtree(partial)
                lock.close()
                return None
            begin(partial, origin, overwrite)
            prepare(partial)
        except BaseException:
            if lock.is_alone and not has_content(partial):
                shutil.rmtree(partial)
            lock.close()
            raise
        if lock.share():
            return lock
        lock.close()
    return None


def _is_done(
    path: Path, origin: Origin, overwrite: bool, is_current: Callable[[Path], bool]
) -> bool:
    """Do as `is_done`; with `overwrite` only what this version would make again is kept."""
    is_same = is_finished(path, origin)
    if is_same and is_locked(path):  # by the shard that has just signed it and cleans up
        return True
    if overwrite and is_same and is_current(path):
        from phenomae import __version__

        with suppress(ValueError):
            signature = read_verified(path, origin.kind)
            if signature.get("version") == __version__:
                info(already_there(path, signature))
                return True
    return is_done(path, origin, overwrite)


def _require_same_shards(lock: SharedLock, path: Path, origin: Origin) -> None:
    """Raise ValueError if the shards that fill the folder do other work."""
    # Without locks of the system it may just be begun.
    deadline = time.monotonic() + _BEGINS_S
    while not (lock.folder / SIGNATURE).exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    try:
        require_same_work(path, read_signature(lock.folder), origin)
    except ValueError as error:
        raise BeingWrittenError(
            f"other shards are writing {path}: wait for them, stop them, or choose another name "
            f"({error})"
        ) from None


def _require_same_signed(path: Path, partial: Path, origin: Origin) -> None:
    """Raise ValueError if the folder that another shard signs, or has just renamed, is other work.

    A shard of other settings would end as if its work were done.
    """
    for folder in (partial, path):
        try:
            signature = read_signature(folder)
        except (ValueError, OSError):  # renamed since, or replaced just now
            continue
        require_same_work(path, signature, origin)
        return


def _leave(
    folder: SharedFolder,
    lock: SharedLock,
    path: Path,
    origin: Origin,
    finish: Callable[[Path], None],
) -> None:
    """Sign the folder if all is done and nobody else is at work; else print what is left."""
    names = folder.units.names
    missing, noun = sum(map(folder.lacks, names)), f"{folder.units.noun}s"
    left = f"{missing} of {len(names)} {noun}"
    if not (missing and lock.descriptor is None) and lock.be_alone():
        # Between being one of several and being alone, another call may have come and gone.
        require_same_work(path, read_signature(lock.folder), origin)
        if any(map(folder.lacks, names)):
            info(f"{path} lacks {left}, whose shards were stopped: start one of them again")
            return
        lock.announce_signing(folder.shard.count if folder.shard else 1)
        if did_any_fail(lock):  # else the files of a large store need not be looked at
            remove_partial_files(lock.folder)
        finish(lock.folder)
        if read_signature(lock.folder).get("identity") is None:
            sign_complete(lock.folder, origin)
        lock.remove_claims()
        complete(lock.folder, path, origin)
    elif not is_finished(path, origin):
        state = f"{left} are being written by other shards" if missing else f"has all {noun}"
        info(f"{path}: {state}; the last shard finishes it")
        for found in list_claims(lock):
            info(f"claimed by {found}: if that process has ended, delete the file")


def _stop(lock: SharedLock, path: Path, error: BaseException) -> None:
    """Remove the folder if nobody has written anything; explain why it is gone if it is."""
    if isinstance(error, FileNotFoundError) and not lock.is_held():
        raise BeingWrittenError(
            f"{lock.folder} was removed or finished by another call while this shard was writing "
            f"it, so the locks of its disk do not reach all processes: run it again for {path}"
        ) from error
    if lock.descriptor is None and not lock.is_alone:
        return
    if lock.be_alone() and not has_content(lock.folder):
        shutil.rmtree(lock.folder)
