"""Files of a store, on a disk or on S3: the rest of the room does not see the difference.

A `Path` is on this machine, a `str` is an address.
"""

import os
import shutil
from pathlib import Path
from typing import Any

from phenomae.artefacts import write_bytes
from phenomae.urls import kvstore_spec, read_address, remove_addresses, write_address


def read_file(location: Path | str) -> bytes:
    """Return a file's bytes; raises FileNotFoundError or another OSError."""
    return location.read_bytes() if isinstance(location, Path) else read_address(location)


def write_file(location: Path | str, content: bytes) -> None:
    """Write a file, whole or not at all; raises OSError."""
    if isinstance(location, Path):
        location.parent.mkdir(parents=True, exist_ok=True)  # S3 has no folders to make
        write_bytes(location, content)
    else:
        write_address(location, content)


def remove_folder(location: Path | str) -> None:
    """Remove a folder and everything in it, if it exists; raises OSError."""
    if not isinstance(location, Path):
        remove_addresses(location)
    elif location.exists():
        shutil.rmtree(location)


def array_location(location: Path | str) -> dict[str, Any]:
    """Return the tensorstore key-value store specification of an array's folder."""
    if isinstance(location, Path):
        # Without the final slash tensorstore would open a file of that name.
        return {"driver": "file", "path": f"{os.path.abspath(location)}/"}
    return kvstore_spec(f"{location}/")
