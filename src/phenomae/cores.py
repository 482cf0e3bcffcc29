"""The CPU: its name, and the number of cores that this process may use, also in a container."""

import math
import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_CPU = Path("/proc/cpuinfo")
_STAT = Path("/proc/stat")
_LOOK_S = 0.1  # ten ticks of the kernel's clock
_LIMIT, _WAIT_POLICY = "PHENOMAE_THREADS", "OMP_WAIT_POLICY"
_OF_NUMBA = "NUMBA_NUM_THREADS"
# Each library reads its variable when it is imported; without it, most use all cores of the
# machine, also those that a container may not use.
_OF_LIBRARIES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    _OF_NUMBA,
    "POLARS_MAX_THREADS",
)


@contextmanager
def limited_threads(count: int | None) -> Iterator[None]:
    """Limit the threads of this process and its children inside the block, by their environment.

    None: the available cores are the limit of libraries that no variable limits. Libraries that are
    already imported keep their number.
    """
    before = dict(os.environ)
    names = _limits()
    if count is None:
        count, names = available_cores(), [name for name in names if name not in before]
    else:
        os.environ[_LIMIT] = str(count)
    os.environ.update(dict.fromkeys(names, str(count)))
    try:
        yield
    finally:
        for name in (_LIMIT, _WAIT_POLICY, *_limits()):
            os.environ.pop(name, None)
            if name in before:
                os.environ[name] = before[name]


def _limits() -> list[str]:
    # numba reads its variable again, and refuses another number once its threads have started.
    return [name for name in _OF_LIBRARIES if name != _OF_NUMBA or "numba" not in sys.modules]


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


def wait_passively_if_busy() -> None:
    """Let the threads of OpenMP sleep while they wait, if other programs use the cores now.

    It must be called before torch is imported. Otherwise they spin, and a thread that shares its
    core with others then lets all threads wait at every operation.
    """
    if _WAIT_POLICY in os.environ or "GOMP_SPINCOUNT" in os.environ or not _STAT.exists():
        return
    before = _STAT.read_text()
    time.sleep(_LOOK_S)
    if idle_cores(before, _STAT.read_text()) < available_cores() - 0.5:
        os.environ[_WAIT_POLICY] = "PASSIVE"


def idle_cores(before: str, after: str) -> float:
    """Return how many cores of the machine were idle between two contents of /proc/stat."""
    first, last = (
        [int(number) for number in text.split("\n", 1)[0].split()[1:9]] for text in (before, after)
    )
    # user, nice, system, idle, iowait, irq, softirq, steal; guests are counted in user.
    spent = [end - start for start, end in zip(first, last, strict=True)]
    cores = sum(line.startswith("cpu") for line in after.splitlines()) - 1
    return cores * (spent[3] + spent[4]) / max(sum(spent), 1)


def cpu_name() -> str:
    """Return the name of the CPU, like AMD EPYC 9B45; its architecture where no name is known."""
    lines = _CPU.read_text().splitlines() if _CPU.exists() else []
    # platform.processor() returns only the architecture on Linux.
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
