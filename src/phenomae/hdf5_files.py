"""Keeps HDF5 from hanging or crashing on damaged .h5ad files.

HDF5 does not verify all that it reads: from some damaged files HDF5 2.0.0 never returns, and
Python cannot interrupt it. Files of phenomae therefore end with the SHA-256 of their other bytes.
HDF5 ignores what follows its own end of the file, and removes it when it changes the file. Files
without that checksum are first read by a separate process, with a time limit.
"""

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, BinaryIO

_CHECKSUM = re.compile(rb"\nsha256:([0-9a-f]{64})\n")
_CHECKSUM_BYTES = 73
_LEAST_LIMIT_S = 30.0
_BYTES_PER_S = 4e6  # files of over 120 MB get more time


def append_checksum(content: bytes) -> bytes:
    """Return the bytes of an HDF5 file followed by their SHA-256."""
    return content + f"\nsha256:{hashlib.sha256(content).hexdigest()}\n".encode()


def require_readable(path: Path, limit_s: float | None = None) -> None:
    """Raise ValueError if HDF5 would hang or crash while it reads the file.

    A file that ends with a checksum is compared with it; any other is read by a separate process
    for at most `limit_s` seconds (by default 30, and more for files of over 120 MB). Other damage
    is not looked for: reading then raises an error.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        file.seek(max(size - _CHECKSUM_BYTES, 0))
        checksum = _CHECKSUM.fullmatch(file.read())
        found = _hash_start(file, size - _CHECKSUM_BYTES) if checksum else None
    if checksum is None:
        _read_in_child(path, limit_s or max(_LEAST_LIMIT_S, size / _BYTES_PER_S))
    elif found != checksum[1].decode():
        raise ValueError(
            f"{path} is damaged: its bytes have changed since phenomae wrote them; make it again "
            "with overwrite"
        )


def _hash_start(file: BinaryIO, count: int) -> str:
    """Return the SHA-256 of the first `count` bytes of a file."""
    found = hashlib.sha256()
    file.seek(0)
    while count > 0 and (part := file.read(min(count, 1 << 20))):
        found.update(part)
        count -= len(part)
    return found.hexdigest()


def _read_in_child(path: Path, limit_s: float) -> None:
    """Raise ValueError if a separate process does not come to the end of `read_structure`."""
    code = (
        f"import sys; sys.path[:] = {sys.path!r}\n"
        f"from phenomae.hdf5_files import read_structure\nread_structure({os.fspath(path)!r})"
    )
    try:
        ended = subprocess.run(
            [sys.executable, "-c", code],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ValueError(
            f"{path} is not a readable .h5ad file: HDF5 did not finish reading it in "
            f"{limit_s:.0f} s, as happens with damaged files; write it again"
        ) from None
    if ended.returncode < 0:  # a signal; Python's own errors are raised again by the caller
        raise ValueError(
            f"{path} is not a readable .h5ad file: HDF5 crashed while reading it (signal "
            f"{-ended.returncode}), as happens with damaged files; write it again"
        )


def read_structure(path: str) -> None:
    """Read all of an HDF5 file but the numbers: attributes, text, and where the chunks are."""
    import h5py

    def read(_: str, item: Any) -> None:
        for name in item.attrs:
            item.attrs[name]
        if isinstance(item, h5py.Dataset):
            if item.dtype.hasobject:
                item[()]
            elif item.chunks is not None:
                item.id.get_num_chunks()

    with h5py.File(path, "r") as file:
        read("/", file)
        file.visititems(read)
