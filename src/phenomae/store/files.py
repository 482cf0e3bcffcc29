"""A store's small files, on a disk or on S3, and where tensorstore finds its arrays."""

import os
import shutil
from pathlib import Path
from typing import Any

from phenomae.artefacts import write_bytes
from phenomae.urls import kvstore_spec, read_address, remove_addresses, write_address


def read_file(location: Path | str) -> bytes:
    """Return a file's bytes; raises FileNotFoundError, or another OSError."""
    return location.read_bytes() if isinstance(location, Path) else read_address(location)


def write_file(location: Path | str, content: bytes) -> None:
    """Write a file, whole or not at all; raises OSError."""
    if isinstance(location, Path):
        location.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(location, content)
    else:
        write_address(location, content)


def remove_folder(location: Path | str) -> None:
    """Remove a folder with all that is in it, if it is there; raises OSError."""
    if not isinstance(location, Path):
        remove_addresses(location)
    elif location.exists():
        shutil.rmtree(location)


def array_location(location: Path | str) -> dict[str, Any]:
    """Return what tensorstore takes for the folder of an array."""
    if isinstance(location, Path):
        return {"driver": "file", "path": f"{os.path.abspath(location)}/"}
    return kvstore_spec(f"{location}/")
