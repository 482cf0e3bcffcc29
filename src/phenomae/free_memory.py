"""Memory that this process can still get: of the machine, of its container, and under `ulimit -v`.

Only the standard library is imported, because `phenomae info` must work where others fail.
"""

import os
import re
from pathlib import Path

try:
    import resource
except ImportError:  # Windows
    resource = None

_MEMORY = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/statm")


def free_memory() -> int | None:
    """Return the memory that this process can still get, in bytes; None if it cannot be known."""
    found = (_left_on_machine(), _left_in_container(), _left_under_limit())
    return min((size for size in found if size is not None), default=None)


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error is numpy's, torch's or CUDA's for memory it cannot allocate."""
    known = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return known or "can't allocate memory" in str(error)  # torch on a CPU


def _left_on_machine() -> int | None:
    if _MEMORY.exists():
        found = re.search(r"^MemAvailable: +(\d+) kB", _MEMORY.read_text(), re.MULTILINE)
        return int(found[1]) * 1024 if found else None
    if "SC_AVPHYS_PAGES" in getattr(os, "sysconf_names", {}):
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _left_in_container() -> int | None:
    limit, used = _CGROUP / "memory.max", _CGROUP / "memory.current"
    if not (limit.exists() and used.exists()) or limit.read_text().strip() == "max":
        return None
    # The kernel counts cached files as used, but gives their memory to whoever asks for it.
    counts = _CGROUP / "memory.stat"
    listed = counts.read_text() if counts.exists() else ""
    cached = re.search(r"^inactive_file (\d+)", listed, re.MULTILINE)
    free = int(limit.read_text()) - int(used.read_text()) + (int(cached[1]) if cached else 0)
    return max(free, 0)


def _left_under_limit() -> int | None:
    """Return what `ulimit -v` leaves, which counts addresses, also those without memory."""
    if resource is None or not _OWN.exists():
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return None
    addresses = int(_OWN.read_text().split()[0]) * resource.getpagesize()
    return max(limit - addresses, 0)
