"""Locks of a folder that several processes fill: of the folder, and of each unit of their work.

The lock of the folder is the file of `writer_lock`. Shards hold it together, so that they and a
call that writes alone exclude each other, and it says how many they are. All locks end with their
process. Where the file system has none, files take their place, and what a killed process has left
must be deleted by hand.
"""

import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from phenomae.locks import (
    BeingWrittenError,
    describe_holder,
    is_open_at,
    lock_file,
    open_lock,
    read_holder,
    unlock_file,
    write_holder,
)
from phenomae.signatures import CLAIMS, LOCK

# For locks that other processes hold for a moment only: while they look, begin or take leave.
_PATIENCE_S = 1.0
_POLL_S = 0.05
_PRESENT = "present"  # a folder of the claims with a file for each shard at work
_SIGNING = "signing"  # the claim of the folder itself, where there are no locks


@dataclass
class SharedLock:
    """The lock of a folder that shards fill, held by one of them."""

    folder: Path
    descriptor: int | None
    """The open file; None where the file system has no locks."""
    is_alone: bool
    """Whether it is held by this process alone."""

    @property
    def path(self) -> Path:
        """The file of the lock."""
        return self.folder / LOCK

    def share(self) -> bool:
        """Let other shards in; return whether the lock is still held: another call may take it."""
        self.is_alone = False
        if self.descriptor is None:
            (self.folder / CLAIMS).mkdir(exist_ok=True)  # without it nobody can sign
            return True
        return bool(lock_file(self.descriptor, shared=True)) and self.is_held()

    def be_alone(self) -> bool:
        """Return whether this process is the only one left, and holds the lock alone.

        If it is not, it does not hold the lock any more: of several shards that end at once, the
        last one to let go finds nobody.
        """
        if self.is_alone:
            return True
        if self.descriptor is None:
            with suppress(FileNotFoundError):  # another shard signs, and has removed the claims
                self.is_alone = _create(self.folder / CLAIMS / _SIGNING) is None
            return self.is_alone
        unlock_file(self.descriptor)
        # It may be another file by now: of a call that came after this one let go.
        self.is_alone = bool(lock_file(self.descriptor)) and self.is_held()
        return self.is_alone

    def is_held(self) -> bool:
        """Return whether the folder and its lock are still there."""
        if self.descriptor is None:
            return self.path.exists()
        return is_open_at(self.path, self.descriptor)

    def announce_signing(self, shards: int) -> None:
        """Let shards that start now know that there is nothing left to do; the lock is alone."""
        if self.descriptor is not None:
            write_holder(self.descriptor, shards=shards, signs=True)

    def remove_claims(self) -> None:
        """Remove all claims in one step; the lock is alone."""
        # File by file, the claim to sign would be free for a moment, where there are no locks.
        removed = self.folder / f"{CLAIMS}.removed"
        with suppress(FileNotFoundError):  # no unit had to be claimed
            os.replace(self.folder / CLAIMS, removed)
        shutil.rmtree(removed, ignore_errors=True)

    def close(self, *places: Path) -> None:
        """Release the lock; its file is removed from the folder or `places` if it is held alone."""
        if self.is_alone:
            for place in (self.folder, *places):
                path = place / LOCK
                if self.descriptor is None or is_open_at(path, self.descriptor):
                    path.unlink(missing_ok=True)
        if self.descriptor is not None:
            unlock_file(self.descriptor)
            os.close(self.descriptor)


def join_shards(folder: Path, name: str, shards: int) -> SharedLock | None:
    """Return the lock of `folder`: held alone by the first shard, else shared with the others.

    `name` is what the folder will be called, for messages. None: another shard has found all work
    done, and signs the folder. Raises BeingWrittenError if a call that is no shard writes the
    folder, or if the shards that write it are not `shards` in all.
    """
    deadline, before = time.monotonic() + _PATIENCE_S, {}
    while True:
        is_new = not (folder / LOCK).exists()
        descriptor = open_lock(folder)
        is_free = lock_file(descriptor)
        if is_free is None:
            return _join_without_locks(folder, name, shards, descriptor, is_new)
        if is_free and is_open_at(folder / LOCK, descriptor):
            write_holder(descriptor, shards=shards)
            return SharedLock(folder, descriptor, is_alone=True)
        # Read before it is locked: a shard of another number must not look as if it worked here.
        holder = {} if is_free else read_holder(descriptor)
        if (
            holder.get("shards") == shards
            and lock_file(descriptor, shared=True)
            and is_open_at(folder / LOCK, descriptor)
            and read_holder(descriptor) == holder
        ):
            return SharedLock(folder, descriptor, is_alone=False)
        os.close(descriptor)
        # Twice the same: a shard that has just come may not have replaced what a killed one wrote.
        if holder.get("signs") and holder == before:
            return None
        before = holder
        if time.monotonic() > deadline and holder.get("shards") != shards:
            raise BeingWrittenError(_refuse(folder.with_name(name), holder, shards))
        time.sleep(_POLL_S)


def _refuse(path: Path, holder: dict, shards: int) -> str:
    if "shards" not in holder:
        return (
            f"{path} is being written by another call, {describe_holder(holder)}, which is no "
            "shard: wait for it, stop it, or choose another name"
        )
    return (
        f"{path} is being written by {holder['shards']} shards, and this would be one of {shards}: "
        "give all of them the same number, or wait until the others have ended"
    )


def _join_without_locks(
    folder: Path, name: str, shards: int, descriptor: int, is_new: bool
) -> SharedLock:
    """Do as `join_shards` by the content of the file, which stays until the folder is signed."""
    try:
        if is_new and os.fstat(descriptor).st_size == 0:
            write_holder(descriptor, shards=shards)
            return SharedLock(folder, None, is_alone=True)
        deadline = time.monotonic() + _PATIENCE_S
        while not (holder := read_holder(descriptor)) and time.monotonic() < deadline:
            time.sleep(_POLL_S)
    finally:
        os.close(descriptor)
    if holder.get("shards") != shards:
        refused = _refuse(folder.with_name(name), holder, shards)
        raise BeingWrittenError(f"{refused} (if they have ended, delete {folder / LOCK})")
    return SharedLock(folder, None, is_alone=False)


@contextmanager
def claim(lock: SharedLock, unit: str) -> Iterator[bool]:
    """Yield whether a unit of work was free; if so it is this process's until the block ends."""
    place = lock.folder / CLAIMS / "units"
    for folder in (place.parent, place):  # not the folder itself, if somebody removed it
        folder.mkdir(exist_ok=True)
    if lock.descriptor is None:
        is_free = _create(place / unit) is None
        try:
            yield is_free
        finally:
            if is_free:
                (place / unit).unlink(missing_ok=True)
        return
    descriptor = os.open(place / unit, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        # The file stays: if it was removed, two processes could each lock a file of that name.
        yield bool(lock_file(descriptor))
    finally:
        unlock_file(descriptor)
        os.close(descriptor)


@contextmanager
def note_presence(lock: SharedLock) -> Iterator[None]:
    """Leave a file while the block runs, which stays if this process is killed or fails."""
    if lock.descriptor is None:  # whose claims are made once, and removed by who signs
        yield
        return
    place = lock.folder / CLAIMS / _PRESENT
    for folder in (place.parent, place):
        folder.mkdir(exist_ok=True)
    path = place / secrets.token_hex(8)
    path.touch()
    yield
    # Not after an error: a worker process that was killed may have left half-written files.
    path.unlink(missing_ok=True)


def did_any_fail(lock: SharedLock) -> bool:
    """Return whether a shard was killed or failed since the folder was begun; the lock is alone."""
    return lock.descriptor is None or any((lock.folder / CLAIMS / _PRESENT).glob("*"))


def list_claims(lock: SharedLock) -> list[str]:
    """Return the claims that only their files tell of, in words; none where there are locks."""
    if lock.descriptor is not None:
        return []
    claims = lock.folder / CLAIMS
    paths = [*sorted((claims / "units").glob("*")), *claims.glob(_SIGNING)]
    if not claims.exists() and lock.path.exists():  # signed, but not renamed yet
        paths = [lock.path]
    return [f"{path} ({_read_file(path)})" for path in paths]


def _create(path: Path) -> str | None:
    """Create a file with this process as its holder; if it is there, return its holder."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return _read_file(path)
    try:
        write_holder(descriptor)
    finally:
        os.close(descriptor)
    return None


def _read_file(path: Path) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return "which has just ended"
    try:
        return describe_holder(read_holder(descriptor))
    finally:
        os.close(descriptor)
