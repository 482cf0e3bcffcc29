"""A lock that lets one process at a time write a folder.

It is a lock of the system (`flock`), which ends with its process however that ends, and which a
stopped process keeps. The file says who holds it, or who held it last.
"""

import json
import os
import platform
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phenomae.progress import info
from phenomae.signatures import LOCK

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

# Windows has no O_NOFOLLOW, and would translate line endings without O_BINARY.
_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


class BeingWrittenError(ValueError):
    """Raised if another process is writing the same folder."""


@contextmanager
def writer_lock(folder: Path, name: str) -> Iterator[Callable[[], None]]:
    """Hold the lock of `folder`, which is created, while the block runs; then remove its file.

    `name` is what the folder will be called once it is finished, for messages. The block may
    rename the folder to that name, beside it. Yields a function to call before the folder is
    signed: it raises BeingWrittenError if somebody has removed the folder or the lock meanwhile.
    Raises BeingWrittenError, naming process and machine, if another process holds the lock.
    """
    held = _acquire(folder, name)

    def require_held() -> None:
        if not held.is_at(folder / LOCK):
            raise BeingWrittenError(
                f"{folder} was removed or taken over by another call while this one was writing "
                "it: nothing of this call was kept"
            )

    try:
        yield require_held
    finally:
        # Where it was created, renamed to, or set aside.
        for place in (folder, folder.with_name(name), folder.with_name(f"{name}.replaced")):
            if held.is_at(place / LOCK):
                (place / LOCK).unlink()
        if folder.is_dir() and not any(folder.iterdir()):  # nothing was begun
            folder.rmdir()
        held.close()


def remove_stale_lock(folder: Path) -> None:
    """Remove the lock that a call left which was killed after it had finished the folder."""
    path = folder / LOCK
    if not path.exists():
        return
    descriptor = os.open(path, os.O_RDWR | _FLAGS)
    try:
        if lock_file(descriptor) and is_open_at(path, descriptor):
            path.unlink()
    finally:
        os.close(descriptor)


def is_locked(folder: Path) -> bool:
    """Return whether a process holds the lock of `folder` alone; False if that cannot be known."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDWR | _FLAGS)
    except FileNotFoundError:
        return False
    try:
        return lock_file(descriptor, shared=True) is False
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class _Held:
    """A lock that this process holds."""

    descriptor: int | None
    """The open file; None on Windows, where a folder with an open file cannot be renamed."""
    content: bytes
    """What this process, and no other, has written into the file."""

    def is_at(self, path: Path) -> bool:
        """Return whether the lock at `path` is this one."""
        if self.descriptor is not None:
            return is_open_at(path, self.descriptor)
        try:
            return path.read_bytes() == self.content
        except FileNotFoundError:
            return False

    def close(self) -> None:
        """Release the lock."""
        if self.descriptor is not None:
            os.close(self.descriptor)


def _acquire(folder: Path, name: str) -> _Held:
    path = folder / LOCK
    while True:
        descriptor = open_lock(folder)
        locked = lock_file(descriptor)
        if locked is False or (locked is None and os.fstat(descriptor).st_size):
            holder = _describe(descriptor)
            os.close(descriptor)
            # Where there are no locks, nobody can tell a call that runs from one that was killed.
            unsure = "" if locked is False else f" (if it has ended, delete {path})"
            raise BeingWrittenError(
                f"{folder.with_name(name)} is being written by another call, {holder}: wait for "
                f"it, stop it, or choose another name{unsure}"
            )
        # The folder may have been renamed or removed between opening and locking.
        if is_open_at(path, descriptor):
            content = _take_over(descriptor, folder.with_name(name))
            if fcntl is not None:
                return _Held(descriptor, content)
            os.close(descriptor)
            return _Held(None, content)
        os.close(descriptor)


def open_lock(folder: Path) -> int:
    """Return a descriptor of the lock of a folder; both are created if they are not there."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # the folder was renamed since
            return os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | _FLAGS, 0o666)


def lock_file(descriptor: int, shared: bool = False) -> bool | None:
    """Lock a file; return whether it was free, or None where the system has no locks.

    `shared` excludes only processes that want it alone. A lock that is changed may be lost.
    """
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # some network file systems have no locks
        return None
    return True


def unlock_file(descriptor: int) -> None:
    """Release the lock of a file, also if a process that was forked has the file open."""
    if fcntl is not None:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)


def is_open_at(path: Path, descriptor: int) -> bool:
    """Return whether `path` is the file that is open as `descriptor`."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _take_over(descriptor: int, path: Path) -> bytes:
    """Write this process into the lock and return what was written.

    Prints a line if the lock holds the name of a process that was killed.
    """
    if os.fstat(descriptor).st_size:
        info(f"{path}: an earlier call, {_describe(descriptor)}, stopped before it finished")
    return write_holder(descriptor)


def write_holder(descriptor: int, **more: Any) -> bytes:
    """Write this process, and `more`, into a lock; return what was written."""
    since = time.strftime("%Y-%m-%d %H:%M:%S%z")
    holder = {"pid": os.getpid(), "host": platform.node(), "since": since, **more}
    content = (json.dumps({**holder, "token": secrets.token_hex(8)}) + "\n").encode()
    os.ftruncate(descriptor, 0)
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.write(descriptor, content)
    return content


def read_holder(descriptor: int) -> dict[str, Any]:
    """Return what `write_holder` wrote: pid, host, since and more; empty if that is not there."""
    try:
        os.lseek(descriptor, 0, os.SEEK_SET)
        found = json.loads(os.read(descriptor, 4096))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def describe_holder(found: Mapping[str, Any]) -> str:
    """Return the process that wrote itself into a lock, in words."""
    if not {"pid", "host", "since"} <= found.keys():
        return "whose process is not known"
    process = f"process {found['pid']} on {found['host']} since {found['since']}"
    return f"one of {found['shards']} shards, {process}" if "shards" in found else process


def _describe(descriptor: int) -> str:
    return describe_holder(read_holder(descriptor))
