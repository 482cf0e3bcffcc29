"""`phenomae info`: versions, device, threads, free memory and disk, for reports of bugs.

It must work where phenomae does not: whatever cannot be found is left out, and no package but torch
is imported.
"""

import json as json_format
import os
import platform
import re
import shutil
import sys
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from phenomae import __version__
from phenomae.cores import available_cores, cpu_name
from phenomae.free_memory import free_memory

_GB = 1e9
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Installation:
    """An installation of phenomae and the machine that it is on."""

    phenomae: str
    python: str
    platform: str
    processor: str
    cores: int
    """Number of cores that this process may use."""
    threads: dict[str, str]
    """The environment variables that limit threads, of those that are set."""
    device: str
    """What networks run on."""
    free_memory_gb: float | None
    """Memory that this process can still get, also in a container; None where nothing tells."""
    free_disk_gb: float
    """Free space of the disk of the current folder."""
    libraries: dict[str, str | None]
    """Version of each package that phenomae needs or an extra adds; None: not installed."""
    missing: dict[str, list[str]]
    """For each extra (`phenomae[train]`), the packages that are not installed."""


def info(*, json: bool = False) -> Installation:
    """Print versions, device, threads, free memory and disk; put it into a report of a bug.

    Parameters
    ----------
    json
        Print one JSON object instead of a table.

    Returns what is printed.
    """
    groups = _list_requirements()
    libraries = {name: _version_of(name) for names in groups.values() for name in names}
    found = Installation(
        phenomae=__version__,
        python=f"{platform.python_version()} ({sys.executable})",
        platform=platform.platform(),
        processor=cpu_name(),
        cores=available_cores(),
        threads={name: os.environ[name] for name in _THREADS if name in os.environ},
        device=_describe_device(),
        free_memory_gb=_free_memory_gb(),
        free_disk_gb=round(shutil.disk_usage(Path.cwd()).free / _GB, 1),
        libraries=dict(sorted(libraries.items())),
        missing={
            extra: [name for name in names if libraries[name] is None]
            for extra, names in groups.items()
            if extra
        },
    )
    print(json_format.dumps(asdict(found), indent=2) if json else _describe(found))
    return found


def _list_requirements() -> dict[str, list[str]]:
    """Return the packages that phenomae needs, under "", and those that each extra adds.

    They are read from the metadata of the installed package; source that runs without being
    installed has none.
    """
    groups: dict[str, list[str]] = {}
    try:
        lines = metadata.requires("phenomae") or []
    except metadata.PackageNotFoundError:
        lines = []
    for line in lines:
        name = re.match(r"[\w.-]+", line)
        extra = re.search(r'extra == "(.+?)"', line)
        if name:
            groups.setdefault(extra[1] if extra else "", []).append(name[0])
    return groups


def _version_of(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _describe_device() -> str:
    try:
        import torch

        if torch.cuda.is_available():
            count, name = torch.cuda.device_count(), torch.cuda.get_device_name(0)
            return f"cuda: {count} x {name}, CUDA {torch.version.cuda}"
        if torch.backends.mps.is_available():
            return "cpu, and mps, which must be asked for (device = mps)"
        return f"cpu, {torch.get_num_threads()} threads"
    except ImportError:
        return "none: torch is not installed"
    except (OSError, RuntimeError, AttributeError) as error:  # a damaged torch, or its driver
        return f"none: torch does not work: {' '.join(str(error).split())}"


def _free_memory_gb() -> float | None:
    free = free_memory()
    return None if free is None else round(free / _GB, 1)


def _describe(found: Installation) -> str:
    memory = found.free_memory_gb
    lines = {
        "phenomae": found.phenomae,
        "Python": found.python,
        "platform": found.platform,
        "processor": found.processor,
        "cores": str(found.cores),
        **found.threads,
        "device": found.device,
        "free memory": "not known" if memory is None else f"{memory:g} GB",
        "free disk": f"{found.free_disk_gb:g} GB, in the current folder",
        **{name: version or "-" for name, version in found.libraries.items()},
        **{
            f"phenomae[{extra}]": f"without {', '.join(names)}" if names else "installed"
            for extra, names in found.missing.items()
        },
    }
    width = max(map(len, lines)) + 2
    return "\n".join(f"{name:{width}}{value}" for name, value in lines.items())
