"""The CPU: its name, and the number of cores that this process may use, also in a container."""

import math
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_CPU = Path("/proc/cpuinfo")
_LIMIT = "PHENOMAE_THREADS"
# Each library reads its variable when it is imported; without it, most use all cores of the
# machine, also those that a container may not use.
_OF_LIBRARIES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
    "POLARS_MAX_THREADS",
)


@contextmanager
def limited_threads(count: int | None) -> Iterator[None]:
    """Limit the threads of this process and its children inside the block, by their environment.

    None: the available cores are the limit of libraries that no variable limits. Libraries that are
    already imported keep their number.
    """
    before = dict(os.environ)
    names = _OF_LIBRARIES
    if count is None:
        count, names = available_cores(), [name for name in names if name not in before]
    else:
        os.environ[_LIMIT] = str(count)
    os.environ.update(dict.fromkeys(names, str(count)))
    try:
        yield
    finally:
        for name in (_LIMIT, *_OF_LIBRARIES):
            os.environ.pop(name, None)
            if name in before:
                os.environ[name] = before[name]


def available_cores() -> int:
    """Return the number of usable cores: those of the CPU affinity, limited by the CPU quota.

    The environment variable PHENOMAE_THREADS, which `--threads` sets, limits them further. Raises
    ValueError if it is no number.
    """
    cores = _cores_of_container()
    if not (limit := os.environ.get(_LIMIT)):
        return cores
    if not (limit.isdecimal() and int(limit)):
        raise ValueError(f"{_LIMIT} must be a whole number from 1, not {limit}")
    return min(cores, int(limit))


def _cores_of_container() -> int:
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
