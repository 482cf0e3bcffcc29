"""A lock that lets one process at a time write a folder.

It is a lock of the system (`flock`), which ends with its process however that ends, and which a
stopped process keeps. The file says who holds it, or who held it last.
"""

import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from phenomae.progress import info
from phenomae.signatures import LOCK

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


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
    descriptor = _acquire(folder, name)

    def require_held() -> None:
        if not _is_open(folder / LOCK, descriptor):
            raise BeingWrittenError(
                f"{folder} was removed or taken over by another call while this one was writing "
                "it: nothing of this call was kept"
            )

    try:
        yield require_held
    finally:
        # Where it was created, renamed to, or set aside.
        for place in (folder, folder.with_name(name), folder.with_name(f"{name}.replaced")):
            if _is_open(place / LOCK, descriptor):
                (place / LOCK).unlink()
        if folder.is_dir() and not any(folder.iterdir()):  # nothing was begun
            folder.rmdir()
        os.close(descriptor)


def remove_stale_lock(folder: Path) -> None:
    """Remove the lock that a call left which was killed after it had finished the folder."""
    path = folder / LOCK
    if not path.exists():
        return
    descriptor = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
    try:
        if _lock(descriptor) and _is_open(path, descriptor):
            path.unlink()
    finally:
        os.close(descriptor)


def _acquire(folder: Path, name: str) -> int:
    path = folder / LOCK
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        try:
            descriptor = os.open(path, flags, 0o666)
        except FileNotFoundError:  # the folder was renamed since
            continue
        locked = _lock(descriptor)
        if locked is False or (locked is None and os.fstat(descriptor).st_size):
            holder = _read_holder(descriptor)
            os.close(descriptor)
            # Where there are no locks, nobody can tell a call that runs from one that was killed.
            unsure = "" if locked is False else f" (if it has ended, delete {path})"
            raise BeingWrittenError(
                f"{folder.with_name(name)} is being written by another call, {holder}: wait for "
                f"it, stop it, or choose another name{unsure}"
            )
        # The folder may have been renamed or removed between opening and locking.
        if _is_open(path, descriptor):
            _take_over(descriptor, folder.with_name(name))
            return descriptor
        os.close(descriptor)


def _lock(descriptor: int) -> bool | None:
    """Lock a file; return whether it was free, or None where the system has no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # some network file systems have no locks
        return None
    return True


def _is_open(path: Path, descriptor: int) -> bool:
    """Return whether `path` is the file that is open as `descriptor`."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _take_over(descriptor: int, path: Path) -> None:
    """Write this process into the lock; say so if it holds the name of one that was killed."""
    if os.fstat(descriptor).st_size:
        info(f"{path}: an earlier call, {_read_holder(descriptor)}, stopped before it finished")
    holder = {"pid": os.getpid(), "host": platform.node(), "since": time.strftime("%F %T%z")}
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, (json.dumps(holder) + "\n").encode(), 0)


def _read_holder(descriptor: int) -> str:
    """Return the process that wrote itself into a lock, in words."""
    try:
        found = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {found['pid']} on {found['host']} since {found['since']}"
    except (ValueError, KeyError, TypeError):
        return "whose process is not known"
