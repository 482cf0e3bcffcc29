"""A lock that lets one process at a time write a folder.

It is a lock of the system (`flock`), which ends with its process however that ends, and which a
stopped process keeps. The file says who holds it, or who held it last.
"""

import json
import os
import platform
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

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
        if _lock(descriptor) and _is_open(path, descriptor):
            path.unlink()
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
            return _is_open(path, self.descriptor)
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
        folder.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | _FLAGS, 0o666)
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
            content = _take_over(descriptor, folder.with_name(name))
            if fcntl is not None:
                return _Held(descriptor, content)
            os.close(descriptor)
            return _Held(None, content)
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


def _take_over(descriptor: int, path: Path) -> bytes:
    """Write this process into the lock and return what was written.

    Prints a line if the lock holds the name of a process that was killed.
    """
    if os.fstat(descriptor).st_size:
        info(f"{path}: an earlier call, {_read_holder(descriptor)}, stopped before it finished")
    since = time.strftime("%Y-%m-%d %H:%M:%S%z")
    holder = {"pid": os.getpid(), "host": platform.node(), "since": since}
    content = (json.dumps({**holder, "token": secrets.token_hex(8)}) + "\n").encode()
    os.ftruncate(descriptor, 0)
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.write(descriptor, content)
    return content


def _read_holder(descriptor: int) -> str:
    """Return the process that wrote itself into a lock, in words."""
    try:
        os.lseek(descriptor, 0, os.SEEK_SET)
        found = json.loads(os.read(descriptor, 4096))
        return f"process {found['pid']} on {found['host']} since {found['since']}"
    except (ValueError, KeyError, TypeError):
        return "whose process is not known"
