"""Reads, writes and removes files of a store on a local disk (`Path`) or on S3 (`str`)."""

import os
import shutil
from pathlib import Path
from typing import Any

from phenomae.urls import (
    kvstore_spec,
    read_address,
    remove_address,
    remove_addresses,
    write_address,
)
from phenomae.whole_files import write_bytes


def read_file(location: Path | str) -> bytes:
    """Return a file's bytes; raises OSError, which is FileNotFoundError if there is no file."""
    return location.read_bytes() if isinstance(location, Path) else read_address(location)


def write_file(location: Path | str, content: bytes) -> None:
    """Write a file, completely or not at all; raises OSError."""
    if isinstance(location, Path):
        location.parent.mkdir(parents=True, exist_ok=True)  # not needed on S3, which has no folders
        write_bytes(location, content)
    else:
        write_address(location, content)


def remove_file(location: Path | str) -> None:
    """Remove a file, if it exists; raises OSError."""
    if isinstance(location, Path):
        location.unlink(missing_ok=True)
    else:
        remove_address(location)


def remove_folder(location: Path | str) -> None:
    """Remove a folder with its contents, if the folder exists; raises OSError."""
    if not isinstance(location, Path):
        remove_addresses(location)
    elif location.exists():
        shutil.rmtree(location)


def array_location(location: Path | str) -> dict[str, Any]:
    """Return the tensorstore key-value store specification of an array's folder."""
    if isinstance(location, Path):
        # The trailing slash tells tensorstore that the path is a folder and not a single file.
        return {"driver": "file", "path": f"{os.path.abspath(location)}/"}
    return kvstore_spec(f"{location}/")
