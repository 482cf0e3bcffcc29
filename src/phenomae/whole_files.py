"""Writes files that are complete or absent, and hashes files and values."""

import hashlib
import json
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PARTIAL = ".partial"  # ends the names of files and folders that are being written
_ABANDONED_S = 3600  # age after which a partial file is taken for what a killed call has left
_RUST_ERROR = re.compile(r"\(os error (\d+)\)")  # how safetensors, written in Rust, reports errno


def hash_json(value: Any) -> str:
    """Return a hash of a JSON value, independent of the order of its keys: 32 hex digits."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def hash_bytes(content: bytes) -> str:
    """Return a hash of bytes: 32 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()[:32]


def hash_file(path: Path) -> str:
    """Return a hash of the bytes of a file: 32 hexadecimal digits."""
    return sha256_of(path)[:32]


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, as `sha256sum` prints it: 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def whole_file(path: Path, sync: bool = True, replace: bool = True) -> Iterator[Path]:
    """Yield a temporary path to write to; if the block succeeds, rename it to `path`.

    `sync` waits for the disk, so that even a power cut leaves the whole file or none. Without
    `replace` a file of that name that appears meanwhile is kept, and FileExistsError raised. Errors
    of the system, such as a full disk, are raised as an OSError that names `path`, in whatever form
    the library that writes reports them.
    """
    # A name that nobody can guess: two calls never write to the same file, and in a folder of many
    # people nobody can plant a link that leads to another file.
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}{PARTIAL}")
    try:
        mode = _create_file(partial)
        yield partial
        # Some writers (safetensors) make another file, that only its owner may read.
        partial.chmod(mode)
        if sync:
            with open(partial, "rb+") as file:
                os.fsync(file.fileno())
        _put_in_place(partial, path, replace)
    except Exception as error:
        number = _system_error(error, partial)
        if number is None:
            raise
        raise OSError(number, os.strerror(number), str(path)) from error
    finally:
        partial.unlink(missing_ok=True)


def _create_file(path: Path) -> int:
    """Create an empty file and return its mode: what the caller's umask leaves of 0o666."""
    # Not on Windows, whose links need the rights of an administrator.
    no_follow = getattr(os, "O_NOFOLLOW", 0)
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | no_follow, 0o666)
    try:
        return stat.S_IMODE(os.fstat(descriptor).st_mode)
    finally:
        os.close(descriptor)


def _put_in_place(partial: Path, path: Path, replace: bool) -> None:
    if replace:
        os.replace(partial, path)
        return
    try:
        os.link(partial, path)  # unlike a rename, fails if the name is taken
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if path.exists():
            raise FileExistsError(17, os.strerror(17), str(path)) from None
        os.replace(partial, path)


def _system_error(error: Exception, partial: Path) -> int | None:
    """Return the errno behind a failure to write `partial`; None if it had another cause."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno if error.filename in (None, str(partial)) else None
    match = _RUST_ERROR.search(str(error))
    return int(match[1]) if match else None


def write_bytes(
    path: Path, content: bytes | memoryview, sync: bool = True, replace: bool = True
) -> None:
    """Write a file completely or not at all; see `whole_file`.

    Callers let libraries encode into memory and write the bytes here: on a full disk some libraries
    raise errors of their own, some raise none, and some end the process.
    """
    with whole_file(path, sync, replace) as partial:
        partial.write_bytes(content)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file completely or not at all."""
    write_bytes(path, (json.dumps(value, indent=2) + "\n").encode())


def remove_abandoned(path: Path) -> None:
    """Remove the partial files that killed calls have left while they wrote `path`.

    Those of the last hour may be of a call that still runs, and are kept.
    """
    for partial in path.parent.glob(f"{_escape(path.name)}.*{PARTIAL}"):
        if partial.is_file() and time.time() - partial.stat().st_mtime > _ABANDONED_S:
            partial.unlink(missing_ok=True)


def _escape(name: str) -> str:
    """Return a file name in which no character is a wild card of `glob`."""
    return re.sub(r"([*?[])", r"[\1]", name)
