"""The CPU: its name, and the number of cores that this process may use, also in a container."""

import math
import os
import platform
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_CPU = Path("/proc/cpuinfo")


def available_cores() -> int:
    """Return the number of usable cores: those of the CPU affinity, limited by the CPU quota."""
    # os.cpu_count ignores both limits: in a container with 2 of 64 cores it returns 64.
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    quota, _, period = _QUOTA.read_text().partition(" ") if _QUOTA.exists() else ("max", "", "")
    return cores if quota == "max" else max(1, min(cores, math.ceil(int(quota) / int(period))))


def cpu_name() -> str:
    """Return the name of the CPU, like AMD EPYC 9B45; its architecture where no name is known."""
    lines = _CPU.read_text().splitlines() if _CPU.exists() else []
    # platform.processor() returns only the architecture on Linux.
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
