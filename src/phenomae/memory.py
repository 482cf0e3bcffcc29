"""Stops glibc from returning large freed buffers to the kernel, or makes it return them.

Networks and fields allocate and free the same large buffers over and over, and the kernel clears
every new page. This cost up to a quarter of the run time (docs/log.md, 2026-11-25).
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # M_TRIM_THRESHOLD and M_MMAP_MAX of mallopt(3)


@contextmanager
def kept_memory() -> Iterator[None]:
    """Keep freed memory with the process inside the block, and return it to the kernel after."""
    library = keep_memory()
    try:
        yield
    finally:
        if library is not None:
            library.mallopt(_MMAP_MAX, 65536)  # this value and the next one are glibc's defaults
            library.mallopt(_TRIM_THRESHOLD, 128 * 1024)
            library.malloc_trim(0)


def keep_memory() -> ctypes.CDLL | None:
    """Keep freed memory with the process from now on.

    Returns the C library, or None if it has no `mallopt` (it is not glibc): nothing changes then.
    """
    library = _find_glibc()
    if library is None:
        return None
    # 0: no buffer gets its own mapping, which `free` would return to the kernel at once.
    library.mallopt(_MMAP_MAX, 0)
    # -1: never trim. With a threshold of 2 GB, steps of 8 crops of the channel-agnostic network
    # exceeded the threshold and faulted their pages in again (docs/log.md, 2026-11-25).
    library.mallopt(_TRIM_THRESHOLD, -1)
    return library


def return_freed_memory() -> None:
    """Return freed memory to the kernel, which glibc keeps where small objects lie between."""
    library = _find_glibc()
    if library is not None:
        library.malloc_trim(0)


def _find_glibc() -> ctypes.CDLL | None:
    # On Windows the program itself cannot be opened as a library.
    library = ctypes.CDLL(None) if os.name == "posix" else None
    return library if library is not None and hasattr(library, "mallopt") else None
