"""Returns the number of CPU cores that this process may use, also in a container."""

import math
import os
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def available_cores() -> int:
    """Return the number of usable cores: those of the CPU affinity, limited by the CPU quota."""
    # os.cpu_count ignores both limits: in a container with 2 of 64 cores it returns 64.
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    quota, _, period = _QUOTA.read_text().partition(" ") if _QUOTA.exists() else ("max", "", "")
    return cores if quota == "max" else max(1, min(cores, math.ceil(int(quota) / int(period))))
