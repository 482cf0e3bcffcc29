"""Keeps memory that is freed with the process, where large pieces come and go."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # numbers of mallopt(3)


@contextmanager
def kept_memory() -> Iterator[None]:
    """Let memory that is freed inside the block stay with the process until its end.

    Networks and fields take and free the same large pieces over and over. glibc gives each back to
    the system, which has to clear new ones: up to a quarter of the time (docs/log.md).
    """
    library = keep_memory()
    try:
        yield
    finally:
        if library is not None:
            library.mallopt(_MMAP_MAX, 65536)  # glibc's own values
            library.mallopt(_TRIM_THRESHOLD, 128 * 1024)
            library.malloc_trim(0)


def keep_memory() -> ctypes.CDLL | None:
    """Let memory that is freed stay with the process from now on.

    Returns the C library; None where it is not glibc, and nothing is changed.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        return None
    library.mallopt(_MMAP_MAX, 0)
    library.mallopt(_TRIM_THRESHOLD, -1)  # never; a limit of 2 GB is reached by large steps
    return library
